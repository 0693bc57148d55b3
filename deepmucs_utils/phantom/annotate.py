"""How phantom cells are annotated: polygons just outside the bright rim, as in LIVECell."""

import cv2
import numpy as np

from deepmucs_utils.phantom.layout import SCALE, inset

STROKE = 10  # vertices over which the error of a drawn outline changes
TOLERANCE = 0.45  # px, simplification of the annotated outline
LEAST_AREA = 40  # px²; smaller remainders are not annotated


def annotate(culture, layout, rng):
    """The annotation polygons of an image's cells.

    Parameters
    ----------
    culture : PhantomCulture
    layout : Layout
    rng : numpy.random.Generator
        For the errors of manual annotation.

    Returns
    -------
    list of ndarray of float, shape (n, 2)
        Vertices ``(x, y)``, px of the image.
    """
    found = []
    for number, place in enumerate(layout.windows(), 1):
        if place is None:
            continue
        layer, window = place
        state = culture.states[layout.states[number - 1]]
        polygon = _polygon(layer.label, number, window, state, rng)
        if polygon is not None and cv2.contourArea(polygon.astype(np.float32)) >= LEAST_AREA:
            found.append(polygon)
    return found


def _polygon(label, number, window, state, rng):
    """The polygon of one cell: its pixels, and free ones up to `layout.inset` away."""
    reach = round(inset(state) * SCALE)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    margin = reach + 2
    top, left = (max(side.start - margin, 0) for side in window)
    nearby = label[top : window[0].stop + margin, left : window[1].stop + margin]
    own = (nearby == number).astype(np.uint8)
    mask = own | (cv2.dilate(own, disc) * (nearby == 0))
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = max(contours, key=len)
    if len(contour) < 12:
        return None
    points = contour[:, 0].astype(float)
    normal = _outwards(points)
    error = SCALE * state.hand * _closed_noise(len(points), rng)
    x, y = np.rint(points + 3 * normal).astype(int).T
    beyond = nearby[y.clip(0, nearby.shape[0] - 1), x.clip(0, nearby.shape[1] - 1)] > 0
    error[beyond] *= 0.5  # a border that two cells share is clearer
    error += 0.5  # from pixel centre to pixel edge
    for _ in range(2):  # no pixel steps
        points = (np.roll(points, 1, 0) + 2 * points + np.roll(points, -1, 0)) / 4
    points = (points + normal * error[:, None] + (left + 0.5, top + 0.5)) / SCALE
    points = cv2.approxPolyDP(points.astype(np.float32), TOLERANCE, True)[:, 0].astype(float)
    height, width = label.shape
    return points.clip(0, (width / SCALE, height / SCALE)) if len(points) >= 4 else None


def _closed_noise(n, rng):
    """Noise of unit variance round a closed line of ``n`` points, smooth over `STROKE` of them."""
    waves = np.fft.rfft(rng.standard_normal(n))
    waves *= np.exp(-((np.arange(len(waves)) * 2 * STROKE / n) ** 2))
    noise = np.fft.irfft(waves, n)
    return noise / max(noise.std(), 1e-9)


def _outwards(points):
    """Unit normals of a closed polygon that point out of it."""
    tangent = np.roll(points, -4, 0) - np.roll(points, 4, 0)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], 1)
    turn = np.sign(cv2.contourArea(points.astype(np.float32), oriented=True))
    return turn * normal / np.maximum(np.hypot(*normal.T), 1e-9)[:, None]
