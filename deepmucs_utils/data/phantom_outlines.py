"""Outlines of phantom cells, and where they lie.

Every cell is drawn as a polygon and claims the pixels where it is nearest to its middle (distance
to its own outline, as a share of the greatest such distance). So a lone cell keeps its outline, and
cells that meet share one straight border, as in a sheet.
"""

from dataclasses import dataclass

import cv2
import numpy as np

POINTS = 48  # vertices of an outline before it is drawn
ANGLES = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)


@dataclass(frozen=True)
class Layout:
    """The cells of one image before they are imaged.

    Parameters
    ----------
    label : ndarray of int32, shape (height, width)
        1 + the cell's place in ``states``; 0 where there is none.
    depth : ndarray of float32, shape (height, width)
        Share of the way from the cell's outline to its middle, 0 to 1.
    boxes : list of tuple of int
        For each cell ``(y0, x0, y1, x1)``, half open, px; None for a cell without pixels.
    states : ndarray of int
        Index of each cell's state.
    """

    label: np.ndarray
    depth: np.ndarray
    boxes: list
    states: np.ndarray


def arrange(culture, cover, time, size, inset, rng):
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
    inset : float
        How much smaller than its mask a cell is on every side, px.
    rng : numpy.random.Generator

    Returns
    -------
    Layout
    """
    height, width = size
    label = np.zeros(size, np.int32)
    depth = np.zeros(size, np.float32)
    weights = np.array([(1 - time) * s.share[0] + time * s.share[1] for s in culture.states])
    weights /= weights.sum()
    centres, radii, states, boxes = np.empty((0, 2)), np.empty(0), [], []
    wanted, covered = cover * height * width, 0.0
    misses = 0
    while covered < wanted and misses < 200:
        kind = int(rng.choice(len(weights), p=weights))
        state = culture.states[kind]
        area = state.area * np.exp(state.spread * rng.standard_normal())
        radius = max(np.sqrt(area / np.pi), 3.5)
        centre = _find_place(centres, radii, radius, culture, size, rng)
        if centre is None:
            misses += 1
            continue
        parts = draw_outline(state, max(radius - inset, 2.0), rng)
        box = _claim(label, depth, [part + centre for part in parts], len(states) + 1)
        inside = (0 <= centre[0] < width) and (0 <= centre[1] < height)
        covered += area if inside else area / 4
        centres = np.vstack([centres, centre])
        radii = np.append(radii, radius)
        states.append(kind)
        boxes.append(box)
    return Layout(label, depth, boxes, np.array(states, int))


def draw_outline(state, radius, rng):
    """Draw one outline round the origin.

    Parameters
    ----------
    state : State
    radius : float
        Radius of the disc of equal area, px.
    rng : numpy.random.Generator

    Returns
    -------
    list of ndarray of float, shape (n, 2)
        Parts ``(x, y)``, px: the body and, for ``"neurite"``, its processes.
    """
    aspect = max(1 + (state.aspect - 1) * np.exp(0.4 * rng.standard_normal()), 1.0)
    turn = rng.uniform(0, 2 * np.pi)
    if state.form == "polygon":
        r = _tipped(int(rng.integers(3, 7)), 0.75, 8.0, rng)
    elif state.form == "neurite":
        r = _tipped(int(rng.integers(2, 5)), 0.5, 12.0, rng)
    else:
        r = _wavy(0.02 if state.form == "round" else 0.07, rng)
    body = np.stack([r * np.cos(ANGLES) * np.sqrt(aspect), r * np.sin(ANGLES) / np.sqrt(aspect)], 1)
    parts = [body * radius * np.sqrt(np.pi / _area(body))]
    if state.form == "neurite":
        parts[0] *= 0.9
        parts += _processes(parts[0], rng)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return [part @ rotation for part in parts]


def _wavy(amplitude, rng):
    """Radius by angle: a disc with a few low harmonics."""
    order = np.arange(2, 7)
    size = amplitude * rng.standard_normal(5) * np.sqrt(2 / order)
    phases = rng.uniform(0, 2 * np.pi, 5)
    return np.clip(1 + (size[:, None] * np.cos(order[:, None] * ANGLES + phases[:, None])).sum(0),
                   0.5, 1.6)  # fmt: skip


def _tipped(tips, height, sharpness, rng):
    """Radius by angle: a body with pointed tips and drawn-in sides between them."""
    places = (np.arange(tips) + rng.uniform(-0.3, 0.3, tips)) * 2 * np.pi / tips
    heights = height * rng.uniform(0.4, 1.6, tips)
    lobes = np.exp(sharpness * (np.cos(ANGLES - places[:, None]) - 1))
    return 1 + (heights[:, None] * lobes).sum(0)


def _processes(body, rng):
    """Thin tapering processes that start at the tips of a body."""
    reach = np.hypot(*body.T)
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        start = int(rng.choice(POINTS, p=reach**4 / (reach**4).sum()))
        direction = np.arctan2(*body[start][::-1]) + rng.normal(0, 0.3)
        length = rng.uniform(6, 24)
        steps = np.linspace(0, 1, 8)
        bend = direction + rng.normal(0, 0.5) * steps
        path = body[start] * 0.8 + np.cumsum(
            np.stack([np.cos(bend), np.sin(bend)], 1) * length / 8, 0
        )
        normal = np.stack([-np.sin(bend), np.cos(bend)], 1) * (1.6 - 0.9 * steps)[:, None]
        parts.append(np.vstack([path + normal, (path - normal)[::-1]]))
    return parts


def _area(points):
    x, y = points.T
    return 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))


def _find_place(centres, radii, radius, culture, size, rng):
    """A centre that keeps its distance from the others, or None after 30 trials."""
    height, width = size
    for _ in range(30):
        if len(radii) and rng.random() < culture.colony:
            chosen = int(rng.integers(len(radii)))
            angle = rng.uniform(0, 2 * np.pi)
            away = (radii[chosen] + radius) * rng.uniform(culture.crowding, 1.02)
            centre = centres[chosen] + away * np.array([np.cos(angle), np.sin(angle)])
        else:
            centre = rng.uniform((-radius / 2,) * 2, (width + radius / 2, height + radius / 2))
        if not (-radius < centre[0] < width + radius and -radius < centre[1] < height + radius):
            continue
        gap = np.hypot(*(centres - centre).T)
        if not len(radii) or (gap > culture.crowding * (radii + radius)).all():
            return centre
    return None


def _claim(label, depth, parts, number):
    """Draw a cell into ``label`` and ``depth``, in place; its box, or None if it is outside."""
    height, width = label.shape
    points = np.vstack(parts)
    x0, y0 = np.floor(points.min(0)).astype(int) - 2
    x1, y1 = np.ceil(points.max(0)).astype(int) + 3
    drawn = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for part in parts:
        cv2.fillPoly(drawn, [np.rint((part - (x0, y0)) * 16).astype(np.int32)], 1, shift=4)
    inner = cv2.distanceTransform(drawn, cv2.DIST_L2, 3)
    inner /= max(inner.max(), 1)
    top, left, bottom, right = max(y0, 0), max(x0, 0), min(y1, height), min(x1, width)
    if top >= bottom or left >= right:
        return None
    inner = inner[top - y0 : bottom - y0, left - x0 : right - x0]
    window = np.s_[top:bottom, left:right]
    won = inner > depth[window]
    depth[window][won] = inner[won]
    label[window][won] = number
    return (top, left, bottom, right)


def outline_polygon(label, number, box, inset, tolerance):
    """The annotation polygon of one cell: its own pixels and free ones up to ``inset`` px away.

    Parameters
    ----------
    label : ndarray of int32, shape (height, width)
    number : int
        The cell's label.
    box : tuple of int
    inset : float
        Reach into the background, px: the rim lies inside LIVECell's masks.
    tolerance : float
        Simplification of the polygon, px.

    Returns
    -------
    ndarray of float, shape (n, 2), or None
        Vertices ``(x, y)`` in image coordinates, px; None if nothing is left.
    """
    height, width = label.shape
    margin = int(np.ceil(inset)) + 2
    top, left = max(box[0] - margin, 0), max(box[1] - margin, 0)
    bottom, right = min(box[2] + margin, height), min(box[3] + margin, width)
    window = label[top:bottom, left:right]
    own = window == number
    if not own.any():
        return None
    away = cv2.distanceTransform((~own).astype(np.uint8), cv2.DIST_L2, 3)
    mask = (own | ((away <= inset) & (window == 0))).astype(np.uint8)
    mask = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = max(contours, key=cv2.contourArea)
    points = cv2.approxPolyDP(contour, tolerance, True)[:, 0].astype(float)
    if len(points) < 5:
        return None
    middle = points.mean(0)
    points += 0.5 * np.sign(points - middle)  # from pixel centres to pixel edges
    points += (left - 0.5, top - 0.5)
    return points.clip(0, (width, height))
