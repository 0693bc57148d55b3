"""From the layout of phantom cells to the phase by which they delay light.

A spread cell is a thin lamella that rises from its edge, a thick middle around the nucleus, the
nucleus with nucleoli, granules that thin out away from it and spare it, a fine grain, a ruffled
margin, and a groove where it meets another cell. A rounded cell is a cap. Debris is irregular.
"""

import cv2
import numpy as np

from deepmucs_utils.phantom.layout import SIZE, SCALE, smooth_noise
from deepmucs_utils.phantom.optics import blur

VARIATION = 0.3  # standard deviation, over cells, of the logarithm of each phase
CAP = 0.65  # exponent of a rounded cell's height: 0.5 is a sphere, 1 a paraboloid
EDGE = 0.45  # px, width of the nucleus's edge
NUCLEUS = 0.08  # radians, phase of a clear nucleus above its surroundings
GROOVE = 0.6  # px, standard deviation of a groove's profile
GRANULES = 0.10  # per px² next to the nucleus
NUCLEOLI = 2.6  # of a cell
NUCLEOLUS = 0.9  # px, radius (standard deviation)
SATURATION = 1.0  # radians, largest phase of granules
DEBRIS = np.array([0.5, 0.8, 1.3])  # px, radii (standard deviations) of debris


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
            values = values * np.exp(VARIATION * rng.standard_normal(count))
            setattr(self, name, values.astype(np.float32))
        contact = np.array([state.contact for state in culture.states])[layout.states]
        self.contact = (contact * np.exp(0.7 * rng.standard_normal(count))).astype(np.float32)
        self.ring = rng.normal(0.5, 0.7, count).astype(np.float32)
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
    dome[process] = 0.8
    plate = rise * slow * (own.height[of] + own.body[of] * dome)
    ring = np.exp(-0.5 * (into / 0.7) ** 2) * own.ring[of] * np.maximum(0.6 + 0.8 * uneven, 0)
    plate += NUCLEUS * own.clear[of] * (nucleus + ring)
    ruffled = 0.35 + 1 / (1 + np.exp(-6 * (far - 1.15)))
    lumps = np.maximum(0.3 + uneven, 0) * np.maximum(0.5 + lumpy, 0)
    plate += own.margin[of] * ruffled * lumps * np.exp(-(((free - 1.3) / 1.1) ** 2))
    groove = own.contact[of] * np.exp(0.45 * uneven) * np.exp(-0.5 * (contact / GROOVE) ** 2)
    plate -= groove

    nearest = np.minimum(free, contact)
    greatest = np.full(len(own.radius), 0.5, np.float32)
    np.maximum.at(greatest, of, nearest)
    middle = nearest / greatest[of]
    cap = np.clip(1 - (1 - middle) ** 2, 0, 1) ** CAP
    ball = own.ball[of]
    height = np.where(ball > 0, ball * cap, plate)

    white = rng.standard_normal(shape, np.float32)
    size = culture.size * SCALE
    fine = _unit(blur(white, size), size)[inside]
    fine += 0.8 * _unit(blur(white, 2.5 * size), 2.5 * size)[inside]
    near = np.exp(-np.maximum(into, 0) / np.maximum(own.thin[of] * own.radius[of], 0.5))
    spared = 1 - np.minimum(own.clear[of], 0.95) * nucleus
    edge = np.clip(free / 2.5, 0, 1)
    chance = GRANULES / SCALE**2 * (0.08 + near) * spared * edge
    core = np.bincount(of, nucleus > 0.6, len(own.radius))
    nucleoli = np.where(nucleus > 0.6, NUCLEOLI / np.maximum(core, 30)[of], 0)
    draw = rng.random(len(of), np.float32)
    amount = np.where(
        draw < chance, own.grain[of] * (0.15 + 0.6 * rng.standard_exponential(len(of))), 0
    )
    spots = np.zeros(shape, np.float32)
    spots[inside] = np.where(draw < chance, amount, 0)
    grains = _peak(blur(spots, size), size)[inside]
    spots[inside] = np.where(draw > 1 - nucleoli, own.nucleoli[of] * (0.3 + 0.6 * slow), 0)
    grains += _peak(blur(spots, NUCLEOLUS * SCALE), NUCLEOLUS * SCALE)[inside]
    grains += own.fine[of] * fine * (0.35 + 0.65 * near) * (1 - 0.5 * nucleus) * edge
    phase = np.zeros(shape, np.float32)
    phase[inside] = height + SATURATION * np.tanh(grains / SATURATION)
    return phase


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
    for _ in range(rng.poisson(mean)):
        spot = rng.uniform((0, 0), phase.shape)
        kind, amount = int(rng.choice(len(DEBRIS), p=(0.45, 0.4, 0.15))), rng.gamma(1.3, 0.35)
        parts = 1 + (rng.random() < 0.25) * rng.integers(1, 4)
        stride, bend = SCALE * rng.uniform(1.0, 2.2), rng.uniform(0, 2 * np.pi)
        if rng.random() < 0.04:
            parts, stride, amount = int(rng.integers(6, 14)), SCALE * 1.2, 0.6 * amount
        for _ in range(parts):
            y, x = spot.astype(int)
            if 0 <= y < phase.shape[0] and 0 <= x < phase.shape[1]:
                points[kind, y, x] += amount * rng.uniform(0.6, 1.2)
            bend += rng.normal(0, 0.7)
            spot = spot + stride * np.array([np.sin(bend), np.cos(bend)])
    for layer, deviation in zip(points, SCALE * DEBRIS, strict=True):
        if layer.any():
            phase += _peak(blur(layer, deviation), deviation)
