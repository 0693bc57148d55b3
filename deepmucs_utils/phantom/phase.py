"""From the layout of phantom cells to the phase by which they delay light.

A spread cell is a thin lamella that rises from its edge, a thick middle around the nucleus, the
nucleus with nucleoli, granules that thin out away from it and spare it, a fine grain, a ruffled
margin, and a groove where it meets another cell. A rounded cell is a lumpy cap with a core. Debris
is irregular.
"""

import cv2
import numpy as np

from deepmucs_utils.phantom.layout import SCALE, SIZE, smooth_noise
from deepmucs_utils.phantom.optics import blur

VARIATION = 0.3  # standard deviation, over cells, of the logarithm of each phase
OF_IMAGE = 0.2  # the same over images
THICK = np.float32(0.7)  # of a process, as a share of the body
CAP = 0.52  # exponent of a rounded cell's height: 0.5 is a sphere, 1 a paraboloid
CORE = 0.5  # share of a rounded cell's height that is its core
LUMP = 2.4  # px, size of lumps in rounded cells
RIPPLE = 3.2  # px between the rings of a rounded cell
EDGE = 0.45  # px, width of the nucleus's edge
NUCLEUS = 0.08  # radians, phase of a clear nucleus above its surroundings
GROOVE = 0.6  # px, standard deviation of a groove's profile
DEEPEST = 0.25  # radians, greatest depth of a groove
GRANULES = 0.16  # per px² next to the nucleus
NUCLEOLI = 3.0  # of a cell
NUCLEOLUS = 0.95  # px, radius (standard deviation)
SATURATION = 1.0  # radians, largest phase of granules
DEBRIS = np.array([0.45, 0.75, 1.2])  # px, radii (standard deviations) of debris
DEBRIS_SHARES = (0.62, 0.33, 0.05)


def cell_phase(culture, layout, rng):
    """Phase of all cells of an image.

    Parameters
    ----------
    culture : PhantomCulture
    layout : Layout
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32, shape (SCALE * height, SCALE * width)
        Radians.
    """
    own = _Own(culture, layout, rng)
    phase = np.zeros(layout.layers[0].label.shape, np.float32)
    for layer in layout.layers:
        if layer.label.any():
            phase += _layer_phase(culture, layer, own, rng)
    return phase


class _Own:
    """Numbers of each cell, float32, shape (n,): those of its state, varied, and its own."""

    def __init__(self, culture, layout, rng):
        count = len(layout.states)

        def varied(name, of_cell=VARIATION, of_image=None):
            values = np.array([getattr(state, name) for state in culture.states])[layout.states]
            of_image = OF_IMAGE * rng.standard_normal() if of_image is None else of_image
            spread = of_cell * rng.standard_normal(count) + of_image
            return (values * np.exp(spread)).astype(np.float32)

        self.ball, self.height, self.body = varied("ball"), varied("height"), varied("body")
        self.clear, self.nucleoli = varied("clear"), varied("nucleoli")
        self.thin, self.taper, self.margin = varied("thin"), varied("taper"), varied("margin")
        rough = OF_IMAGE * rng.standard_normal()  # where there is much grain, grooves are deep too
        self.grain, self.fine = varied("grain", of_image=rough), varied("fine", of_image=rough)
        self.contact = varied("contact", 0.4, rough + 0.2 * rng.standard_normal())
        self.arms = THICK * np.clip(varied("processes", 0, 0) / 3, 0, 1)
        self.ring = rng.normal(0.5, 0.7, count).clip(max=1.5).astype(np.float32)
        lean = rng.normal(0, 0.9, 2) + rng.normal(0, 0.3, (count, 2))
        self.lean = lean.astype(np.float32)  # px
        self.core = rng.normal(1.9, 0.5, count).astype(np.float32)  # px
        self.nucleus = layout.nuclei[:, 2].astype(np.float32)  # px
        self.radius = layout.radius.astype(np.float32)  # px


class _Pixels:
    """The covered pixels of a layer: where each lies in its cell; 1-D arrays but for ``inside``.

    ``of`` is the index of the cell; ``free, contact, into`` are distances, px of the image: from
    the background, from other cells, and outwards from the nucleus's edge; ``far`` is the distance
    from the cell's centre in cell radii; ``slow, uneven, lumpy`` are noises over 10, 3 and 1 px.
    """

    def __init__(self, layer, own, rng):
        shape = layer.label.shape
        self.inside = layer.label > 0
        self.of = layer.label[self.inside] - 1
        self.free = blur(_distance(self.inside), 1.0)[self.inside]
        self.contact = _distance(~_contacts(layer.label))[self.inside].clip(max=20)
        self.nuclear, self.far = layer.nuclear[self.inside], layer.far[self.inside]
        self.process = layer.process[self.inside]
        self.slow, self.uneven, self.lumpy = (
            smooth_noise(shape, scale, rng)[self.inside] for scale in (10 * SCALE, 3 * SCALE, SCALE)
        )
        self.into = (self.nuclear - 1) * own.nucleus[self.of]
        self.nucleus = _step(-self.into / EDGE)
        self.nucleus[self.process] = 0

    def image(self, values):
        """Values of the covered pixels as an image, 0 elsewhere; float32."""
        image = np.zeros(self.inside.shape, np.float32)
        image[self.inside] = values
        return image


def _layer_phase(culture, layer, own, rng):
    """Phase of the cells of one layer."""
    at = _Pixels(layer, own, rng)
    lumps = np.maximum(0.5 + 0.8 * at.uneven, 0) * np.maximum(0.8 + 0.3 * at.lumpy, 0)
    ruffles = own.margin[at.of] * np.exp(-(((at.free - 1.3) / 1.1) ** 2)) * (0.3 + 0.8 * lumps)
    ring = np.exp(-0.5 * (at.into / 0.7) ** 2) * own.ring[at.of]
    ring *= NUCLEUS * own.clear[at.of] * np.maximum(0.6 + 0.8 * at.uneven, 0)
    height = _plate(at, own) + ring + ruffles * (0.35 + _step(6 * (at.far - 1.15)))
    ball = own.ball[at.of] > 0
    if ball.any():
        height = np.where(ball, _ball(at, own, rng) + ring + 0.3 * ruffles, height)
    return at.image(height + SATURATION * np.tanh(_grains(at, culture, own, rng) / SATURATION))


def _plate(at, own):
    """Spread cells: lamella, thick middle and nucleus, and the grooves between cells."""
    # the edge is sharp here and fades there
    taper = own.taper[at.of] * np.exp(0.9 * at.slow + 0.2)
    rise = 1 - np.exp(-at.free / np.maximum(taper, 0.2))
    middle = np.exp(-0.5 * (at.nuclear / 1.5) ** 2)
    middle = np.maximum(middle, np.where(at.process, THICK, own.arms[at.of]))
    plate = rise * np.exp(0.3 * at.slow) * (own.height[at.of] + own.body[at.of] * middle)
    plate += NUCLEUS * own.clear[at.of] * at.nucleus
    depth = own.contact[at.of] * np.exp(0.5 * at.slow + 0.12 * at.uneven)
    return plate - DEEPEST * np.tanh(depth / DEEPEST) * np.exp(-0.5 * (at.contact / GROOVE) ** 2)


def _ball(at, own, rng):
    """Rounded cells: a cap with rings and lumps, and a core that leans one way in all of them."""
    nearest = np.minimum(at.free, at.contact)
    greatest = np.maximum(0.6 * own.radius, 0.5)  # a covered cell's rest is no smaller cap
    np.maximum.at(greatest, at.of, nearest)
    cap = np.clip(1 - (1 - nearest / greatest[at.of]) ** 2, 0, 1) ** CAP
    count = np.maximum(np.bincount(at.of, minlength=len(own.radius)), 1)
    toward, away = np.zeros(len(at.of), np.float32), np.ones(len(at.of), np.float32)
    for place, lean in zip(np.nonzero(at.inside), own.lean.T, strict=True):
        middle = np.bincount(at.of, place, len(count)) / count
        off = (place - middle[at.of]).astype(np.float32)
        toward += off * lean[at.of]
        away += off**2
    core = _step((nearest - own.core[at.of] - toward / np.sqrt(away)) / EDGE)
    ripple = np.cos(2 * np.pi * nearest / RIPPLE) * np.exp(-nearest / 4) * own.ring[at.of]
    cap *= 1 - CORE + CORE * core + 0.08 * ripple
    lumps = smooth_noise(at.inside.shape, int(LUMP * SCALE), rng)[at.inside]
    return own.ball[at.of] * cap + 0.5 * own.margin[at.of] * lumps * np.clip(nearest / 2.5, 0, 1)


def _grains(at, culture, own, rng):
    """Granules around the nucleus and at the tips, nucleoli in it, and the fine grain."""
    size = culture.size * SCALE
    near = np.exp(-np.maximum(at.into, 0) / np.maximum(own.thin * own.radius, 0.5)[at.of])
    spared = (1 - np.minimum(own.clear[at.of], 0.95) * at.nucleus) * np.clip(at.free / 2.5, 0, 1)
    tips = own.margin[at.of] * (1 + np.tanh(4 * (at.far - 1.35))) * (at.free < 6)
    chance = (0.02 + 1.2 * near) * np.exp(0.9 * at.uneven) + 2.0 * tips
    draw = rng.random(len(at.of), np.float32)
    amount = 0.1 + 0.4 * rng.standard_exponential(len(at.of), np.float32)
    amount *= own.grain[at.of] * (0.6 + 0.4 * near)
    granules = at.image(amount * (draw < GRANULES / SCALE**2 * spared * chance))
    core = at.nucleus > 0.6
    chance = NUCLEOLI / np.maximum(np.bincount(at.of, core, len(own.radius)), 30)
    amount = own.nucleoli[at.of] * rng.uniform(0.4, 1.1, len(at.of)).astype(np.float32)
    nucleoli = at.image(amount * core * (draw > 1 - chance[at.of]))
    white = rng.standard_normal(at.inside.shape, np.float32)
    fine = sum(share * _unit(white, width * size) for share, width in ((1, 1), (0.6, 2.5)))
    spread = own.fine[at.of] * (0.2 + 0.8 * near) * (0.35 + 0.65 * spared)
    spread *= np.exp(0.5 * at.uneven) * np.clip(at.free / 2.5, 0, 1)
    coarse = _peak(granules, size) + _peak(nucleoli, NUCLEOLUS * SCALE)
    return coarse[at.inside] + spread * fine[at.inside]


def _step(x):
    """A smooth step from 0 to 1."""
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def _distance(region):
    """Distance of each pixel of a region from its outside, px of the image."""
    return cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 5) / np.float32(SCALE)


def _contacts(label):
    """Where pixels of different cells meet; bool, shape of ``label``."""
    contact = np.zeros(label.shape, bool)
    for here, before in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        one, other = label[here], label[before]
        contact[here] |= (one != other) & (one > 0) & (other > 0)
    return contact


def _unit(noise, deviation):
    """Blurred white noise of unit variance."""
    return blur(noise, deviation) * np.float32(2 * np.sqrt(np.pi) * deviation)


def _peak(points, deviation):
    """Blurred points of the same height."""
    return blur(points, deviation) * np.float32(2 * np.pi * deviation**2)


def add_debris(phase, count, rng):
    """Add debris to a phase map, in place: specks, clumps and threads, on cells too.

    Parameters
    ----------
    phase : ndarray of float32, shape (SCALE * height, SCALE * width)
        Radians.
    count : float
        Mean number in an image of LIVECell's size.
    rng : numpy.random.Generator
    """
    mean = count * phase.size / (SIZE[0] * SIZE[1] * SCALE**2)
    points = np.zeros((len(DEBRIS), *phase.shape), np.float32)
    spot = np.zeros(2)
    for _ in range(rng.poisson(mean * rng.gamma(3.0, 1 / 3))):
        near = rng.random() < 0.3
        spot = spot + rng.normal(0, 6 * SCALE, 2) if near else rng.uniform((0, 0), phase.shape)
        kind, amount = int(rng.choice(len(DEBRIS), p=DEBRIS_SHARES)), rng.gamma(1.6, 0.22)
        amount *= (1, 1, 0.4)[kind]
        if rng.random() < 0.08:
            kind, amount = max(kind, 1), -0.3 * amount  # out of focus
        parts = 1 + (rng.random() < 0.3) * rng.integers(1, 5)
        stride, bend = SCALE * rng.uniform(0.9, 2.4), rng.uniform(0, 2 * np.pi)
        turn = 1.5
        if rng.random() < 0.06:  # a thread
            parts, stride, kind, turn = int(rng.integers(6, 16)), SCALE * 0.8, 0, 0.35
            amount *= 0.4
        for _ in range(parts):
            y, x = spot.astype(int)
            if 0 <= y < phase.shape[0] and 0 <= x < phase.shape[1]:
                points[kind, y, x] += amount * rng.uniform(0.3, 1.3)
            bend += rng.normal(0, turn)
            spot = spot + stride * np.array([np.sin(bend), np.cos(bend)])
    for layer, deviation in zip(points, SCALE * DEBRIS, strict=True):
        if layer.any():
            phase += _peak(layer, deviation)
