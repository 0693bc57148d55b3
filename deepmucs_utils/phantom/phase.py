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
GRANULES = 0.16  # per px² next to the nucleus
NUCLEOLI = 2.6  # of a cell
NUCLEOLUS = 0.9  # px, radius (standard deviation)
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
    personal = _Personal(culture, layout, rng)
    phase = np.zeros(layout.layers[0].label.shape, np.float32)
    for layer in layout.layers:
        if layer.label.any():
            phase += _layer_phase(culture, layout, layer, personal, rng)
    return phase


class _Personal:
    """Each cell's own numbers: those of its state, varied."""

    def __init__(self, culture, layout, rng):
        count = len(layout.states)
        vary = ("ball", "height", "body", "clear", "nucleoli", "grain", "fine", "margin")
        for name in (*vary, "taper", "thin"):
            values = np.array([getattr(state, name) for state in culture.states], np.float32)
            values = values[layout.states]
            spread = VARIATION * rng.standard_normal(count) + OF_IMAGE * rng.standard_normal()
            values = values * np.exp(spread)
            setattr(self, name, values.astype(np.float32))
        contact = np.array([state.contact for state in culture.states])[layout.states]
        spread = 0.4 * rng.standard_normal(count) + 0.4 * rng.standard_normal()
        self.contact = (contact * np.exp(spread)).astype(np.float32)
        arms = np.array([state.processes for state in culture.states])[layout.states]
        self.arms = (THICK * np.clip(arms / 3, 0, 1)).astype(np.float32)
        self.ring = rng.normal(0.5, 0.7, count).astype(np.float32)
        lean = rng.normal(0, 0.9, 2) + rng.normal(0, 0.3, (count, 2))
        self.lean = lean.astype(np.float32)
        self.core = rng.normal(1.9, 0.5, count).astype(np.float32)
        self.nucleus = layout.nuclei[:, 2].astype(np.float32)
        self.radius = layout.radius.astype(np.float32)


def _layer_phase(culture, layout, layer, own, rng):
    shape = layer.label.shape
    inside = layer.label > 0
    of = layer.label[inside] - 1
    free = blur(_distance(inside), 1.0)[inside]
    contact = _distance(~_contacts(layer.label))[inside].clip(max=20)
    slow = np.exp(0.3 * smooth_noise(shape, 10 * SCALE, rng)[inside])
    uneven = smooth_noise(shape, 3 * SCALE, rng)[inside]
    lumpy = smooth_noise(shape, max(int(1.2 * SCALE), 1), rng)[inside]
    nuclear, far = layer.nuclear[inside], layer.far[inside]
    process = layer.process[inside]
    nuclear_radius = own.nucleus[of]
    into = (nuclear - 1) * nuclear_radius  # px outside the nucleus
    nucleus = 1 / (1 + np.exp(np.clip(into / EDGE, -30, 30)))
    nucleus[process] = 0

    rise = 1 - np.exp(-free / np.maximum(own.taper[of], 0.2))
    dome = np.exp(-0.5 * (nuclear / 1.5) ** 2)
    dome = np.maximum(dome, np.where(process, THICK, own.arms[of]))
    plate = rise * slow * (own.height[of] + own.body[of] * dome)
    ring = np.exp(-0.5 * (into / 0.7) ** 2) * own.ring[of] * np.maximum(0.6 + 0.8 * uneven, 0)
    plate += NUCLEUS * own.clear[of] * (nucleus + ring)
    ruffled = 0.35 + 1 / (1 + np.exp(-6 * (far - 1.15)))
    lumps = np.maximum(0.4 + 0.8 * uneven, 0) * np.maximum(0.6 + 0.5 * lumpy, 0)
    ruffles = own.margin[of] * lumps * np.exp(-(((free - 1.3) / 1.1) ** 2))
    plate += ruffled * ruffles
    groove = own.contact[of] * slow**1.5 * np.exp(0.45 * uneven) * np.exp(-0.5 * (contact / GROOVE) ** 2)
    plate -= groove

    nearest = np.minimum(free, contact)
    ball = own.ball[of]
    cap = _cap(own, layer, inside, nearest)
    coarse = smooth_noise(shape, int(LUMP * SCALE), rng)[inside]
    grainy = own.margin[of] * coarse * np.clip(nearest / 2.5, 0, 1)
    round_phase = ball * cap + 0.5 * grainy + 0.3 * ruffles + NUCLEUS * own.clear[of] * ring
    height = np.where(ball > 0, round_phase, plate)

    white = rng.standard_normal(shape, np.float32)
    size = culture.size * SCALE
    fine = _unit(blur(white, size), size)[inside]
    fine += 0.8 * _unit(blur(white, 2.5 * size), 2.5 * size)[inside]
    near = np.exp(-np.maximum(into, 0) / np.maximum(own.thin[of] * own.radius[of], 0.5))
    spared = 1 - np.minimum(own.clear[of], 0.95) * nucleus
    edge = np.clip(free / 2.5, 0, 1)
    tips = own.margin[of] * (1 + np.tanh(4 * (far - 1.35))) * (free < 6)
    chance = GRANULES / SCALE**2 * spared * edge
    chance *= (0.05 + near) * np.exp(0.6 * uneven) + 2.5 * tips
    core = np.bincount(of, nucleus > 0.6, len(own.radius))
    nucleoli = np.where(nucleus > 0.6, NUCLEOLI / np.maximum(core, 30)[of], 0)
    draw = rng.random(len(of), np.float32)
    amount = np.where(
        draw < chance,
        own.grain[of] * (0.1 + 0.45 * rng.standard_exponential(len(of))) * (0.6 + 0.4 * near),
        0,
    )
    spots = np.zeros(shape, np.float32)
    spots[inside] = np.where(draw < chance, amount, 0)
    grains = _peak(blur(spots, size), size)[inside]
    spots[inside] = np.where(draw > 1 - nucleoli, own.nucleoli[of] * (0.3 + 0.6 * slow), 0)
    grains += _peak(blur(spots, NUCLEOLUS * SCALE), NUCLEOLUS * SCALE)[inside]
    grains += own.fine[of] * fine * (0.25 + 0.75 * near) * (0.2 + 0.8 * spared) * edge
    phase = np.zeros(shape, np.float32)
    phase[inside] = height + SATURATION * np.tanh(grains / SATURATION)
    return phase


def _cap(own, layer, inside, nearest):
    """Relative height of rounded cells: a cap, rings, and a core that leans one way in all cells."""
    of = layer.label[inside] - 1
    greatest = np.maximum(0.6 * own.radius, 0.5)  # a covered cell's rest is no smaller cap
    np.maximum.at(greatest, of, nearest)
    cap = np.clip(1 - (1 - nearest / greatest[of]) ** 2, 0, 1) ** CAP
    count = np.maximum(np.bincount(of, minlength=len(own.radius)), 1)
    toward, away = np.zeros(len(of), np.float32), np.ones(len(of), np.float32)
    for place, lean in zip(np.nonzero(inside), own.lean.T, strict=True):
        off = (place - (np.bincount(of, place, len(count)) / count)[of]).astype(np.float32)
        toward += off * lean[of]
        away += off**2
    beyond = own.core[of] + toward / np.sqrt(away) - nearest
    core = 1 / (1 + np.exp(np.clip(beyond / 0.45, -30, 30)))
    ripple = 0.08 * np.cos(2 * np.pi * nearest / RIPPLE) * np.exp(-nearest / 4) * own.ring[of]
    return cap * (1 - CORE + CORE * core + ripple)


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
    """Blurred white noise, scaled back to unit variance."""
    return noise * np.float32(2 * np.sqrt(np.pi) * deviation)


def _peak(points, deviation):
    """Blurred points, scaled back to their height."""
    return points * np.float32(2 * np.pi * deviation**2)


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
            phase += _peak(blur(layer, deviation), deviation)
