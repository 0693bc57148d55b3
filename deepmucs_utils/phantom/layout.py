"""Where phantom cells lie, and how they are annotated.

Each cell is drawn as an outline and claims the pixels where it is deepest, relative to its own
greatest depth. So a lone cell keeps its outline, and cells that meet share one border, as in a
sheet. The annotated outline lies outside the bright rim, as in LIVECell, with the small errors of
manual annotation.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import find_objects

from deepmucs_utils.phantom.outlines import draw_hairs, draw_outline

INSET = 2.1  # px from the cell to its annotated outline, which lies beyond the bright rim
STROKE = 6  # vertices over which the error of a drawn outline changes
TOLERANCE = 0.35  # px, simplification of the annotated outline
TRIALS = 30  # for the centre of one cell
MOST_MISSES = 40  # cells in a row without a free place, after which an image is full


@dataclass(frozen=True)
class Layout:
    """The cells of one image before they are imaged.

    Parameters
    ----------
    label : ndarray of int32, shape (height, width)
        1 + the cell's index in ``states``; 0 outside cells.
    states : ndarray of int, shape (n,)
        Index of each cell's state in its culture's ``states``.
    hairs : list of ndarray of float, shape (n, 2)
        Thin processes outside the cells' pixels, as lines ``(x, y)``, px.
    """

    label: np.ndarray
    states: np.ndarray
    hairs: list[np.ndarray]

    def windows(self):
        """Each cell's bounding box, as slices of the rows and columns; None without pixels."""
        return find_objects(self.label, len(self.states))


def arrange(culture, cover, time, size, rng):
    """Place cells of a culture until they cover a share of the image.

    Parameters
    ----------
    culture : PhantomCulture
    cover : float
        Share of pixels to cover.
    time : float
        From 0 (sparse) to 1 (confluent): mixes the states.
    size : tuple of int
        Height and width, px.
    rng : numpy.random.Generator

    Returns
    -------
    Layout
    """
    label, depth = np.zeros(size, np.int32), np.zeros(size, np.float32)
    weights = np.array([(1 - time) * s.share[0] + time * s.share[1] for s in culture.states])
    crowd = _Crowd(size, culture.colony * (1 + 2 * time) / 3, culture.crowding, rng)
    states, hairs = [], []
    covered, misses = 0.0, 0
    while covered < cover * label.size and misses < MOST_MISSES:
        kind = int(rng.choice(len(weights), p=weights / weights.sum()))
        state = culture.states[kind]
        area = state.area * np.exp(state.spread * rng.standard_normal())
        radius = max(np.sqrt(area / np.pi), 3.5)
        centre = crowd.place(radius)
        if centre is None:
            misses += 1
            continue
        misses = 0
        parts = [part + centre for part in draw_outline(state, max(radius - INSET, 2.0), rng)]
        hairs += draw_hairs(parts[0], centre, rng.poisson(state.hairs), rng)
        states.append(kind)
        _claim(label, depth, parts, len(states))
        covered += area * crowd.share_inside(centre, radius)
    layout = Layout(label, np.array(states, int), hairs)
    _drop_fragments(layout)
    if culture.sheet:
        _close_gaps(label, culture.sheet)
    return layout


class _Crowd:
    """Centres and radii ``(x, y, radius)`` of the cells placed so far, px."""

    def __init__(self, size, colony, crowding, rng):
        self.size = np.array(size[::-1])
        self.colony, self.crowding, self.rng = colony, crowding, rng
        self.cells = np.empty((0, 3))

    def place(self, radius):
        """Choose a centre at a distance from the other cells, or None after `TRIALS`."""
        rng, crowding, cells = self.rng, self.crowding, self.cells
        near = len(cells) and rng.random() < self.colony
        for _ in range(TRIALS):
            if near:
                x, y, other = cells[int(rng.integers(len(cells)))]
                angle = rng.uniform(0, 2 * np.pi)
                away = (other + radius) * rng.uniform(crowding, crowding + 0.12)
                centre = np.array([x + away * np.cos(angle), y + away * np.sin(angle)])
            else:
                centre = rng.uniform(-radius / 2, self.size + radius / 2)
            if ((centre <= -radius) | (centre >= self.size + radius)).any():
                continue
            gap = (cells[:, 0] - centre[0]) ** 2 + (cells[:, 1] - centre[1]) ** 2
            if (gap >= (crowding * (cells[:, 2] + radius)) ** 2).all():
                self.cells = np.vstack([cells, [*centre, radius]])
                return centre
        return None

    def share_inside(self, centre, radius):
        """Share of a square round the cell that lies inside the image."""
        sides = np.clip([centre - radius, centre + radius], 0, self.size)
        return float(np.ptp(sides, axis=0).prod() / (4 * radius**2))


def _claim(label, depth, parts, number):
    """Draw a cell into ``label`` and ``depth``, in place."""
    points = np.vstack(parts)
    x0, y0 = np.floor(points.min(0)).astype(int) - 2
    x1, y1 = np.ceil(points.max(0)).astype(int) + 3
    drawn = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for part in parts:
        cv2.fillPoly(drawn, [np.rint((part - (x0, y0)) * 16).astype(np.int32)], 1, shift=4)
    inner = cv2.distanceTransform(drawn, cv2.DIST_L2, 3)
    inner /= max(inner.max(), 1)
    top, left = max(y0, 0), max(x0, 0)
    window = np.s_[top : max(y1, 0), left : max(x1, 0)]
    height, width = label[window].shape
    inner = inner[top - y0 :, left - x0 :][:height, :width]
    won = inner > depth[window]
    depth[window][won] = inner[won]
    label[window][won] = number


def _drop_fragments(layout):
    """Keep each cell's largest piece only, in place: others may cut a thin process off."""
    for number, window in enumerate(layout.windows(), 1):
        if window is None:
            continue
        own = layout.label[window] == number
        _, pieces, stats, _ = cv2.connectedComponentsWithStats(own.astype(np.uint8), connectivity=4)
        largest = 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
        layout.label[window][own & (pieces != largest)] = 0


def _close_gaps(label, width):
    """Let cells spread into gaps up to ``width`` px, in place, as in a sheet."""
    covered = (label > 0).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    gaps = cv2.morphologyEx(covered, cv2.MORPH_CLOSE, disc) > 0
    holes, stats = cv2.connectedComponentsWithStats((~gaps).astype(np.uint8))[1:3]
    gaps = (gaps | (stats[:, cv2.CC_STAT_AREA] < 2 * width**2)[holes]) & (label == 0)
    _, nearest = cv2.distanceTransformWithLabels(
        1 - covered, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = np.zeros(nearest.max() + 1, np.int32)
    owner[nearest[label > 0]] = label[label > 0]
    label[gaps] = owner[nearest[gaps]]


def distance(region):
    """Distance of each pixel of a region to the nearest pixel outside, px; float32.

    Parameters
    ----------
    region : ndarray of bool, shape (height, width)
    """
    return cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 5)


def annotate(label, number, window, hand, rng):
    """The annotation polygon of one cell: its pixels, and free ones up to `INSET` px away.

    Parameters
    ----------
    label : ndarray of int32, shape (height, width)
    number : int
        The cell's label.
    window : tuple of slice
        The cell's bounding box, from `Layout.windows`.
    hand : float
        Standard deviation of the outline's error, px.
    rng : numpy.random.Generator
        For these errors.

    Returns
    -------
    ndarray of float, shape (n, 2), or None
        Vertices ``(x, y)`` in image coordinates, px; None if too little is left.
    """
    margin = int(np.ceil(INSET)) + 2
    top, left = (max(side.start - margin, 0) for side in window)
    nearby = label[top : window[0].stop + margin, left : window[1].stop + margin]
    own = nearby == number
    mask = own | ((distance(~own) <= INSET) & (nearby == 0))
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = max(contours, key=len)
    if len(contour) < 8:
        return None
    points = contour[:, 0].astype(float)
    normal = _outwards(points)
    error = hand * _closed_noise(len(points), rng)
    x, y = np.rint(points + 2 * normal).astype(int).T
    beyond = nearby[y.clip(0, nearby.shape[0] - 1), x.clip(0, nearby.shape[1] - 1)]
    error[beyond > 0] = -0.3 * np.abs(error[beyond > 0])  # a border that two cells share is clear
    error += 0.6  # from pixel centre to pixel edge, and the margin that annotators leave
    points = (np.roll(points, 1, 0) + 2 * points + np.roll(points, -1, 0)) / 4  # no pixel steps
    points = points + normal * error[:, None] + (left + 0.5, top + 0.5)
    points = cv2.approxPolyDP(points.astype(np.float32), TOLERANCE, True)[:, 0].astype(float)
    return points.clip(0, label.shape[::-1]) if len(points) >= 4 else None


def _closed_noise(n, rng):
    """Noise of unit variance round a closed line of ``n`` points, smooth over `STROKE` of them."""
    waves = np.fft.rfft(rng.standard_normal(n))
    waves *= np.exp(-((np.arange(len(waves)) * 2 * STROKE / n) ** 2))
    noise = np.fft.irfft(waves, n)
    return noise / max(noise.std(), 1e-9)


def _outwards(points):
    """Unit normals of a closed polygon that point out of it."""
    tangent = np.roll(points, -3, 0) - np.roll(points, 3, 0)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], 1)
    turn = np.sign(cv2.contourArea(points.astype(np.float32), oriented=True))
    return turn * normal / np.maximum(np.hypot(*normal.T), 1e-9)[:, None]
