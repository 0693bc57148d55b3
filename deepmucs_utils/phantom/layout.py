"""Where phantom cells lie, and how they are annotated.

Every cell is drawn as an outline and claims the pixels where it is nearest to its middle (depth
below its own outline as a share of the greatest depth). So a lone cell keeps its outline, and cells
that meet share one border, as in a sheet. The annotated outline lies outside the bright rim, as in
LIVECell, with the small errors of a hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from deepmucs_utils.phantom.outlines import draw_hairs, draw_outline

INSET = 2.1  # px that the annotated outline lies outside the cell, beyond the bright rim
STROKE = 6  # vertices over which the error of a drawn outline changes
TOLERANCE = 0.35  # px, simplification of the annotated outline


@dataclass(frozen=True)
class Layout:
    """The cells of one image before they are imaged.

    Parameters
    ----------
    label : ndarray of int32, shape (height, width)
        1 + the cell's place in ``states``; 0 where there is none.
    boxes : list of tuple of int, or None
        For each cell ``(y0, x0, y1, x1)``, half open, px; None for a cell without pixels.
    states : ndarray of int
        Index of each cell's state.
    hairs : list of ndarray of float, shape (n, 2)
        Thin processes outside the cells' pixels, as lines ``(x, y)``, px.
    """

    label: np.ndarray
    boxes: list
    states: np.ndarray
    hairs: list


def arrange(culture, cover, time, size, rng):
    """Place cells of a culture until they cover a share of the image.

    Parameters
    ----------
    culture : PhantomCulture
    cover : float
        Wanted share of covered pixels.
    time : float
        From 0 (sparse) to 1 (confluent): mixes the states.
    size : tuple of int
        Height and width, px.
    rng : numpy.random.Generator

    Returns
    -------
    Layout
    """
    label = np.zeros(size, np.int32)
    depth = np.zeros(size, np.float32)
    weights = np.array([(1 - time) * s.share[0] + time * s.share[1] for s in culture.states])
    crowd = _Crowd(size, culture.colony * (1 + 2 * time) / 3, culture.crowding, rng)
    states, boxes, hairs = [], [], []
    wanted, covered, misses = cover * label.size, 0.0, 0
    while covered < wanted and misses < 40:
        kind = int(rng.choice(len(weights), p=weights / weights.sum()))
        state = culture.states[kind]
        area = state.area * np.exp(state.spread * rng.standard_normal())
        radius = max(np.sqrt(area / np.pi), 3.5)
        centre = crowd.place(radius)
        if centre is None:
            misses += 1
            continue
        misses = 0
        drawn = max(radius - INSET, 2.0)
        parts = [part + centre for part in draw_outline(state, drawn, rng)]
        hairs += draw_hairs(parts[0], centre, rng.poisson(state.hairs), rng)
        boxes.append(_claim(label, depth, parts, len(states) + 1))
        states.append(kind)
        covered += area * crowd.share_inside(centre, radius)
    _drop_fragments(label, boxes)
    if culture.sheet:
        boxes = _close_gaps(label, boxes, culture.sheet)
    return Layout(label, boxes, np.array(states, int), hairs)


class _Crowd:
    """Centres and radii of the cells that lie already."""

    def __init__(self, size, colony, crowding, rng):
        self.height, self.width = size
        self.colony, self.crowding, self.rng = colony, crowding, rng
        self.n, self.cells = 0, np.empty((64, 3))

    def place(self, radius):
        """Choose a centre that keeps its distance from the others, or None after 30 trials."""
        rng, crowding = self.rng, self.crowding
        near = self.n and rng.random() < self.colony
        cells = self.cells[: self.n]
        for _ in range(30):
            if near:
                x, y, other = cells[int(rng.integers(self.n))]
                angle = rng.uniform(0, 2 * np.pi)
                away = (other + radius) * rng.uniform(crowding, crowding + 0.12)
                x, y = x + away * np.cos(angle), y + away * np.sin(angle)
            else:
                x = rng.uniform(-radius / 2, self.width + radius / 2)
                y = rng.uniform(-radius / 2, self.height + radius / 2)
            if not (-radius < x < self.width + radius and -radius < y < self.height + radius):
                continue
            gap = (cells[:, 0] - x) ** 2 + (cells[:, 1] - y) ** 2
            if (gap >= (crowding * (cells[:, 2] + radius)) ** 2).all():
                if self.n == len(self.cells):
                    self.cells = np.vstack([self.cells, np.empty_like(self.cells)])
                self.cells[self.n] = x, y, radius
                self.n += 1
                return np.array([x, y])
        return None

    def share_inside(self, centre, radius):
        """Share of a square round the cell that lies inside the image."""
        x, y = centre
        across = np.clip([x - radius, x + radius], 0, self.width)
        down = np.clip([y - radius, y + radius], 0, self.height)
        return float(np.ptp(across) * np.ptp(down) / (4 * radius**2))


def _claim(label, depth, parts, number):
    """Draw a cell into ``label`` and ``depth``, in place; its box, or None if it is outside."""
    height, width = label.shape
    points = np.vstack(parts)
    x0, y0 = np.floor(points.min(0)).astype(int) - 2
    x1, y1 = np.ceil(points.max(0)).astype(int) + 3
    top, left, bottom, right = max(y0, 0), max(x0, 0), min(y1, height), min(x1, width)
    if top >= bottom or left >= right:
        return None
    drawn = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for part in parts:
        cv2.fillPoly(drawn, [np.rint((part - (x0, y0)) * 16).astype(np.int32)], 1, shift=4)
    inner = cv2.distanceTransform(drawn, cv2.DIST_L2, 3)
    inner /= max(inner.max(), 1)
    inner = inner[top - y0 : bottom - y0, left - x0 : right - x0]
    window = np.s_[top:bottom, left:right]
    won = inner > depth[window]
    depth[window][won] = inner[won]
    label[window][won] = number
    return (top, left, bottom, right)


def _drop_fragments(label, boxes):
    """Leave each cell its largest piece only, in place: others may cut a thin process off."""
    for number, box in enumerate(boxes, 1):
        if box is None:
            continue
        window = label[box[0] : box[2], box[1] : box[3]]
        own = (window == number).astype(np.uint8)
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(own, connectivity=4)
        if count > 2:
            largest = 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
            window[(own > 0) & (pieces != largest)] = 0


def _close_gaps(label, boxes, width):
    """Let cells spread into gaps up to ``width`` px, in place, as in a sheet; their new boxes."""
    covered = (label > 0).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    gaps = cv2.morphologyEx(covered, cv2.MORPH_CLOSE, disc) > 0
    holes, stats = cv2.connectedComponentsWithStats((~gaps).astype(np.uint8))[1:3]
    gaps = (gaps | (stats[:, cv2.CC_STAT_AREA] < 2 * width**2)[holes]) & (label == 0)
    if not gaps.any():
        return boxes
    _, nearest = cv2.distanceTransformWithLabels(
        1 - covered, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = np.zeros(nearest.max() + 1, np.int32)
    owner[nearest[label > 0]] = label[label > 0]
    label[gaps] = owner[nearest[gaps]]
    height, across = label.shape
    return [
        box
        and (
            max(box[0] - width, 0),
            max(box[1] - width, 0),
            min(box[2] + width, height),
            min(box[3] + width, across),
        )
        for box in boxes
    ]


def annotate(label, number, box, hand, rng):
    """The annotation polygon of one cell: its pixels, and free ones up to `INSET` px away.

    Parameters
    ----------
    label : ndarray of int32, shape (height, width)
    number : int
        The cell's label.
    box : tuple of int
    hand : float
        Standard deviation of the outline's error, px.
    rng : numpy.random.Generator
        For these errors.

    Returns
    -------
    ndarray of float, shape (n, 2), or None
        Vertices ``(x, y)`` in image coordinates, px; None if too little is left.
    """
    height, width = label.shape
    margin = int(np.ceil(INSET)) + 2
    top, left = max(box[0] - margin, 0), max(box[1] - margin, 0)
    bottom, right = min(box[2] + margin, height), min(box[3] + margin, width)
    window = label[top:bottom, left:right]
    own = window == number
    if not own.any():
        return None
    away = cv2.distanceTransform((~own).astype(np.uint8), cv2.DIST_L2, 5)
    mask = (own | ((away <= INSET) & (window == 0))).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = max(contours, key=len)
    if len(contour) < 8:
        return None
    points = contour[:, 0].astype(float)
    normal = _outwards(points)
    error = hand * _closed_noise(len(points), rng)
    x, y = np.rint(points + 2 * normal).astype(int).T
    beyond = window[y.clip(0, window.shape[0] - 1), x.clip(0, window.shape[1] - 1)]
    error[beyond > 0] = -0.3 * np.abs(error[beyond > 0])  # a border that two cells share is clear
    error += 0.6  # from pixel centre to pixel edge, and a little more, as a hand does
    points = _smooth(points) + normal * error[:, None] + (left + 0.5, top + 0.5)
    points = cv2.approxPolyDP(points.astype(np.float32), TOLERANCE, True)[:, 0].astype(float)
    return points.clip(0, (width, height)) if len(points) >= 4 else None


def _closed_noise(n, rng):
    """Noise of unit variance round a closed line of ``n`` points, smooth over `STROKE` of them."""
    waves = np.fft.rfft(rng.standard_normal(n))
    waves *= np.exp(-((np.arange(len(waves)) * 2 * STROKE / n) ** 2))
    noise = np.fft.irfft(waves, n)
    return noise / max(noise.std(), 1e-9)


def _smooth(points):
    """A closed line of pixel centres without its steps."""
    return (np.roll(points, 1, 0) + 2 * points + np.roll(points, -1, 0)) / 4


def _outwards(points):
    """Unit normals of a closed polygon that point out of it."""
    tangent = np.roll(points, -3, 0) - np.roll(points, 3, 0)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], 1)
    x, y = points.T
    turn = np.sign(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    return turn * normal / np.maximum(np.hypot(*normal.T), 1e-9)[:, None]
