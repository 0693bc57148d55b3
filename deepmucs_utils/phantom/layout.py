"""Where phantom cells lie and which pixels each one has.

Colonies grow from fixed places: with time their cells move outwards and more appear. Cells that
come too near push one another apart. Each cell has a level, 0 in its centre and 1 at its outline.
Where outlines overlap, a pixel belongs to the cell with the lower level, so cells in a sheet share
borders and lone cells keep their outlines. Further layers hold the cells that lie over others.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import find_objects
from scipy.spatial import cKDTree

from deepmucs_utils.phantom.outlines import ANGLES, DIRECTIONS, processes, radii

SCALE = 2  # pixels of a layout per pixel of the image
INSET = 1.0, 1.5  # px from a cell to its annotated outline past the rim: spread, and others
WEB = 0.3  # radius of the curves between a cell and its processes, in cell radii / SCALE
ARM = 3.0  # px, mean width of processes, for their share of a cell's area
BEND = 0.12  # how far borders of spread cells bend, in cell radii
SECOND = 0.3  # share of cells in the second layer from which a third one is used
PUSHES = 14  # rounds in which cells move apart
SIZE = (520, 704)  # LIVECell's images, px; numbers per image refer to it


@dataclass(frozen=True)
class Layer:
    """Cells that share borders, `SCALE` pixels per pixel of the image.

    Parameters
    ----------
    label : ndarray of int32, shape (height, width)
        1 + the cell's index; 0 outside cells.
    nuclear : ndarray of float32, same shape
        Distance from the centre of the cell's nucleus in nuclear radii.
    far : ndarray of float32, same shape
        Distance from the cell's centre in cell radii.
    process : ndarray of bool, same shape
        Where a thin process is.
    """

    label: np.ndarray
    nuclear: np.ndarray
    far: np.ndarray
    process: np.ndarray


@dataclass(frozen=True)
class Layout:
    """The cells of one image before they are imaged.

    Parameters
    ----------
    layers : tuple of Layer
    states : ndarray of int, shape (n,)
        Index of each cell's state in its culture's ``states``.
    radius : ndarray of float, shape (n,)
        px of the image.
    nuclei : ndarray of float, shape (n, 3)
        Centre ``x, y`` and radius of each cell's nucleus, px of the image.
    """

    layers: tuple[Layer, ...]
    states: np.ndarray
    radius: np.ndarray
    nuclei: np.ndarray

    def windows(self):
        """For each cell its layer and bounding box; None where nothing of it is left."""
        found = [None] * len(self.states)
        for layer in self.layers:
            for number, window in enumerate(find_objects(layer.label)):
                if window is not None:
                    found[number] = layer, window
        return found


def arrange(culture, cover, time, size, place, rng):
    """Place cells of a culture until they cover a share of the image.

    Parameters
    ----------
    culture : PhantomCulture
    cover : float
        Share of pixels to cover.
    time : float
        From 0 (sparse) to 1 (confluent): its square root mixes the states.
    size : tuple of int
        Height and width, px.
    place : numpy.random.Generator
        Seeded by the place in the well: where its colonies and cells are at any time.
    rng : numpy.random.Generator
        For the shapes at this time.

    Returns
    -------
    Layout
    """
    states, radius, centres = _settle(culture, cover, time, size, place)
    kinds = [culture.states[kind] for kind in states]
    balls = np.array([state.ball > 0 for state in kinds], bool)
    chance, draw = np.where(balls, 0.1, culture.above), rng.random(len(states))
    above = (draw < chance).astype(int) + (draw < chance - SECOND)
    typical = float(np.median(radius)) if len(radius) else 10.0
    bend = BEND * typical * (1 - 0.8 * balls.mean()) if len(balls) else 0.0
    warp = _warp(size, max(int(SCALE * typical * 1.2), 8), bend, rng)
    canvases = [_Canvas(size, warp) for _ in range(1 + above.max(initial=0))]
    nuclei = np.empty((len(states), 3))
    for number, state in enumerate(kinds):
        nuclei[number] = canvases[above[number]].draw(
            number + 1, state, centres[number], radius[number], culture.fill, rng
        )
    layers = tuple(canvas.layer(culture.web, ~balls) for canvas in canvases)
    return Layout(layers, states, radius, nuclei)


def _settle(culture, cover, time, size, place):
    """States, radii (px) and centres ``(x, y)`` of an image's cells."""
    height, width = size
    field = height * width / (SIZE[0] * SIZE[1])
    most = int(3 * height * width / min(state.area for state in culture.states)) + 8
    colonies = max(1, place.poisson(culture.colonies * field))
    homes = place.uniform((0, 0), (width, height), (colonies, 2))
    weight = place.gamma(1.2, 1.0, colonies)
    shape = place.normal(0, 0.22, (colonies, 3, 2))
    draws, sizes = place.random((most, 6)), place.standard_normal(most)
    late = np.sqrt(time)
    weights = np.array([(1 - late) * s.share[0] + late * s.share[1] for s in culture.states])
    states = _choose(weights, draws[:, 0])
    area, spread = np.array([(s.area, s.spread) for s in culture.states])[states].T
    area = np.maximum(area * np.exp(spread * sizes), 50)
    border = 2 * np.sqrt(np.median(area) / np.pi)
    total = (height + border) * (width + border) / (height * width)
    alone = area * culture.fill ** (2 - 2 * time)  # with time, neighbours leave less room
    count = int(np.searchsorted(np.cumsum(alone), cover * height * width * total)) + 1
    states, area, draws = states[:count], area[:count], draws[:count]
    radius = np.sqrt(area / np.pi)
    free = draws[:, 5] >= culture.colony
    home = _choose(weight, draws[:, 1])
    centres = draws[:, 2:4] * (width + border, height + border) - border / 2
    for number in range(colonies):
        own = (home == number) & ~free
        extent = np.sqrt(area[own].sum() / np.pi) * culture.crowding
        centres[own] = homes[number] + extent * _in_a_lumpy_disc(draws[own, 2:4], shape[number])
    return states, radius, _push_apart(centres, radius, culture.crowding, draws[:, 4])


def _choose(weights, draws):
    """For each draw from [0, 1) an index, with a chance in proportion to its weight."""
    return np.searchsorted(np.cumsum(weights / weights.sum()), draws).clip(max=len(weights) - 1)


def _in_a_lumpy_disc(draws, lumps):
    """Points ``x, y`` spread over a disc of about unit radius; the first waves of its outline have
    the logarithmic amplitudes ``lumps``, shape (3, 2)."""
    angle = 2 * np.pi * draws[:, 0]
    waves = np.arange(1, 4)[:, None] * angle
    edge = np.exp((lumps[:, :1] * np.cos(waves) + lumps[:, 1:] * np.sin(waves)).sum(0))
    return (edge * np.sqrt(draws[:, 1]))[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)


def _push_apart(centres, radius, crowding, jitter):
    """Move centres that are nearer than a share of the sum of their radii apart."""
    if len(centres) < 2:
        return centres
    for _ in range(PUSHES):
        pairs = cKDTree(centres).query_pairs(2 * crowding * radius.max(), output_type="ndarray")
        one, other = pairs.T
        between = centres[other] - centres[one]
        gap = np.hypot(*between.T) + 1e-3
        lack = crowding * (radius[one] + radius[other]) * (0.9 + 0.25 * jitter[one]) - gap
        near = lack > 0
        push = between[near] * (0.5 * lack[near] / gap[near])[:, None]
        for axis in (0, 1):
            centres[:, axis] += np.bincount(other[near], push[:, axis], len(centres))
            centres[:, axis] -= np.bincount(one[near], push[:, axis], len(centres))
    return centres


def _warp(size, scale, bend, rng):
    """Coordinates ``x, y`` of a canvas's pixels (px of the image), bent so that borders curve."""
    height, width = (SCALE * side for side in size)
    x = np.arange(width, dtype=np.float32)[None] / SCALE
    y = np.arange(height, dtype=np.float32)[:, None] / SCALE
    return (
        x + bend * smooth_noise((height, width), scale, rng),
        y + bend * smooth_noise((height, width), scale, rng),
    )


def inset(state):
    """Distance from a cell's edge to its annotated outline, px: wide around thin processes."""
    return INSET[state.ball > 0 or state.processes > 1]


class _Canvas:
    """A layer being drawn."""

    def __init__(self, size, warp):
        shape = tuple(SCALE * side for side in size)
        self.x, self.y = warp
        self.level = np.ones(shape, np.float32)
        self.label = np.zeros(shape, np.int32)
        self.nuclear = np.full(shape, 9, np.float32)
        self.far = np.zeros(shape, np.float32)
        self.process = np.zeros(shape, bool)

    def draw(self, number, state, centre, radius, fill, rng):
        """Draw one cell; centre and radius of its nucleus, px of the image."""
        ball = state.ball > 0
        arms_share = state.processes * (1 + state.reach) * ARM / (np.pi * radius)
        radius = radius / np.sqrt(1 + arms_share)
        table = radii(state, max(radius - inset(state), 2.0), rng)
        arms = processes(state, table, rng)
        away = 0.7 * np.sqrt(rng.random()) * (1 - state.nucleus)
        side = min(rng.integers(DIRECTIONS, size=2), key=table.__getitem__)  # rather aside
        turn = ANGLES[side]
        offset = away * table[side] * np.array([np.cos(turn), np.sin(turn)])
        nucleus = max(state.nucleus * radius * np.exp(0.12 * rng.standard_normal()), 0.1)
        if not ball:
            table = table * np.float32(fill)
        extent = max([table.max() + 0.4 * radius, *(np.abs(arm).max() for arm in arms)]) + 1
        window = self._window(centre, extent)
        if window is None:
            return (*(centre + offset), nucleus)
        x = self.x[window] - np.float32(centre[0])
        y = self.y[window] - np.float32(centre[1])
        distance, angle = cv2.cartToPolar(x, y)
        edge = table[(angle * (DIRECTIONS / (2 * np.pi))).astype(np.int32) % DIRECTIONS]
        level = distance / edge * (0.5 if ball else 1.0)
        won = level < np.minimum(self.level[window], 0.5 if ball else 1.0)
        self.process[window][won] = False
        if arms:
            corner = np.array([window[1].start, window[0].start]) / SCALE
            drawn = _webbed([arm + centre - corner for arm in arms], level < 1, WEB * radius)
            thin = drawn & (self.level[window] > 0.55) & ~won & (level >= 1)
            self.process[window][thin] = True
            level[thin] = 0.3
            won |= thin
        self.level[window][won] = level[won]
        self.label[window][won] = number
        self.far[window][won] = distance[won] / np.float32(radius)
        moment = (table**2 * np.exp(2j * ANGLES)).sum() / (table**2).sum()
        self.nuclear[window][won] = (
            _elliptic(x[won] - offset[0], y[won] - offset[1], moment) / nucleus
        )
        return (*(centre + offset), nucleus)

    def _window(self, centre, extent):
        """Slices of the pixels around a centre; None outside the canvas."""
        sides = []
        for middle, length in zip(centre[::-1], self.level.shape, strict=True):
            start = max(int(SCALE * (middle - extent)), 0)
            stop = min(int(SCALE * (middle + extent)) + 1, length)
            if stop <= start:
                return None
            sides.append(slice(start, stop))
        return tuple(sides)

    def _close(self, web, spread):
        """Give pixels in nooks between spread cells, narrower than 2 ``web`` px, to the nearest."""
        sheet = np.append(False, spread)[self.label]
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, 2 * (2 * int(SCALE * web) + 1,))
        closed = cv2.morphologyEx(sheet.astype(np.uint8), cv2.MORPH_CLOSE, disc) > 0
        _, near = cv2.distanceTransformWithLabels(
            (~sheet).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        source = np.zeros(near.max() + 1, np.intp)
        source[near[sheet]] = np.flatnonzero(sheet)
        new = closed & (self.label == 0)
        for values in (self.label, self.nuclear, self.far):
            values[new] = values.ravel()[source[near[new]]]

    def layer(self, web, spread):
        """The finished layer: of each cell only the piece with the most of its body."""
        if web and spread.any():
            self._close(web, spread)
        for number, window in enumerate(find_objects(self.label), 1):
            if window is None:
                continue
            own = self.label[window] == number
            _, pieces = cv2.connectedComponents(own.astype(np.uint8), connectivity=4)
            body = np.bincount(pieces[own & ~self.process[window]], minlength=1)
            self.label[window][own & (pieces != body.argmax())] = 0
        return Layer(self.label, self.nuclear, self.far, self.process)


def _webbed(arms, body, web):
    """Pixels of a body and its processes, the angles between them rounded; bool, as ``body``."""
    drawn = body.astype(np.uint8)
    for arm in arms:
        cv2.fillPoly(drawn, [np.rint(arm * (16 * SCALE)).astype(np.int32)], 1, shift=4)
    bow = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, 2 * (2 * int(web) + 1,))
    return cv2.morphologyEx(drawn, cv2.MORPH_CLOSE, bow) > 0


def _elliptic(x, y, moment):
    """Distance from the origin, measured with an ellipse along a cell's second moment."""
    tilt, stretch = np.angle(moment) / 2, 1 + min(abs(moment), 0.4)
    along = np.cos(tilt) * x + np.sin(tilt) * y
    across = np.cos(tilt) * y - np.sin(tilt) * x
    return np.hypot(along / stretch, across * stretch)


def smooth_noise(shape, scale, rng):
    """Noise of unit variance that changes over ``scale`` pixels; float32."""
    coarse = rng.standard_normal([side // scale + 4 for side in shape]).astype(np.float32)
    height, width = shape
    size = (width + 3 * scale, height + 3 * scale)
    fine = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    y, x = rng.integers(scale, size=2)
    return fine[scale + y : scale + y + height, scale + x : scale + x + width] * np.float32(1.2)
