"""From the outlines of phantom cells to the phase by which they delay light.

A rounded cell is a cap. A spread cell is a plate with a thicker margin and a thicker nucleus in
which nucleoli lie; cells that touch meet in a furrow. Organelles are small grains of higher phase,
dense around the nucleus and few in it. Debris is small blobs, sharp or out of focus.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from deepmucs_utils.phantom.layout import distance
from deepmucs_utils.phantom.optics import blur

CAP = 0.65  # exponent of a rounded cell's height: 0.5 is a sphere, 1 a paraboloid
NUCLEUS = 4.5  # px, radius of the nucleus of a spread cell, where the cell has room for it
RING = 0.05  # height of the ring around the nucleus of a rounded cell, as a share of the cell's
LIFT = 0.35  # height of the nucleus above the plate, as a share of the plate's
MARGIN = 0.35  # height of the margin of a spread cell above the plate, as a share of the plate's
VARIATION = 0.25  # standard deviation, over cells, of the logarithm of phase and texture
DOTS = 0.06  # share of pixels with an organelle that shows as a dot
COARSE = 1.3  # waves of thickness four times as wide as organelles, as a share of fine structure
NUCLEOLI = 2.5  # of a spread cell
SATURATION = 0.7  # radians, largest phase of organelles
HAIR = 0.09  # radians, phase of a thin process


def cell_phase(culture, layout, rng):
    """Phase of all cells of an image.

    Parameters
    ----------
    culture : PhantomCulture
    layout : Layout
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32, shape (height, width)
        Radians.
    """
    phase = np.zeros(layout.label.shape, np.float32)
    if not layout.label.any():
        return phase
    place = _locate(layout)
    states = [(s.phase, s.texture, s.dots, s.edge, s.contact) for s in culture.states]
    amplitude, texture, dots, edge, contact = np.array(states, np.float32)[layout.states].T
    personal = np.exp(VARIATION * rng.standard_normal((3, len(layout.states)))).astype(np.float32)
    amplitude, texture, dots = (amplitude, texture, dots) * personal
    uneven = np.exp(0.5 * _smooth_noise(phase.shape, 6, rng)[place.inside])
    flat = (edge > 0)[place.of]
    nucleus = np.clip(place.rise, 0, 1) * (flat & (place.greatest > 3.5))
    height = np.where(flat, _plate(place, edge, contact, nucleus, uneven), _cap(place, uneven))
    phase[place.inside] = amplitude[place.of] * height
    phase = blur(phase, 0.4) + _hairs(phase.shape, layout.hairs)

    around = np.where(flat, 0.3 + 0.8 * np.clip(2 * place.middle, 0, 1), 1)
    around *= np.clip(place.to_free / 3, 0, 1) * uneven
    spots = _spots(place, nucleus, culture.grain, rng)
    white = rng.standard_normal(phase.shape, np.float32)
    fine = _grains(white, culture.grain) + COARSE * _grains(white, 4 * culture.grain)
    grains = dots[place.of] * spots
    grains += texture[place.of] * (1 - 0.5 * nucleus) * fine[place.inside]
    phase[place.inside] += SATURATION * np.tanh(around * grains / SATURATION)
    return phase


@dataclass(frozen=True)
class _Place:
    """Where the covered pixels lie in their cells; one entry per such pixel but for ``inside``.

    ``inside``: the covered pixels, shape of the image; ``of``: index of the cell; ``to_free,
    to_other, nearest``: distances to the background, to other cells and to the nearer of them, px;
    ``greatest``: the cell's greatest ``nearest``; ``middle``: share of the way to there; ``rise``:
    distance into the nucleus, px.
    """

    inside: np.ndarray
    of: np.ndarray
    to_free: np.ndarray
    to_other: np.ndarray
    nearest: np.ndarray
    greatest: np.ndarray
    middle: np.ndarray
    rise: np.ndarray


def _locate(layout):
    """The `_Place` of a layout's pixels."""
    inside = layout.label > 0
    of = layout.label[inside] - 1
    to_free = np.maximum(blur(distance(inside) - distance(~inside), 1.0), 0)  # without pixel steps
    to_other = distance(~_contacts(layout.label))
    nearest = blur(np.minimum(to_free, to_other), 1.0)[inside]
    to_free, to_other = to_free[inside], blur(to_other, 0.6)[inside]
    greatest = np.full(len(layout.states), 0.5, np.float32)
    np.maximum.at(greatest, of, nearest)
    rise = nearest - np.maximum(greatest - NUCLEUS, 0.4 * greatest)[of]
    greatest = greatest[of]
    return _Place(inside, of, to_free, to_other, nearest, greatest, nearest / greatest, rise)


def _contacts(label):
    """Where pixels of different cells meet; bool, shape of ``label``."""
    contact = np.zeros(label.shape, bool)
    for here, before in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        one, other = label[here], label[before]
        contact[here] |= (one != other) & (one > 0) & (other > 0)
    return contact


def _cap(place, uneven):
    """Height of a rounded cell, 1 in its middle."""
    cap = np.clip(1 - (1 - place.middle) ** 2, 0, 1) ** CAP
    return cap + RING * np.exp(-((place.nearest - 0.55 * place.greatest) ** 2)) * uneven


def _plate(place, edge, contact, nucleus, uneven):
    """Height of a spread cell, about 1 between margin and nucleus."""
    plate = 1 - np.exp(-place.to_free / np.maximum(edge[place.of], 0.3))
    plate += uneven * MARGIN * np.exp(-(((place.to_free - 1.2) / 0.8) ** 2))
    plate += uneven * contact[place.of] * np.exp(-((place.to_other - 0.3) ** 2))
    return plate + LIFT * (nucleus + 0.6 * np.exp(-((place.rise - 0.5) ** 2)) * (nucleus > 0))


def _spots(place, nucleus, radius, rng):
    """Single organelles in the cytoplasm and nucleoli in the nucleus, about 1 in their middle."""
    core = np.bincount(place.of, nucleus > 0)
    chance = np.where(nucleus > 0, NUCLEOLI / np.maximum(core, 1)[place.of], DOTS)
    size = np.where(nucleus > 0, 1.6, rng.gamma(2.0, 0.5, len(place.of)))
    spots = np.zeros(place.inside.shape, np.float32)
    spots[place.inside] = (rng.random(len(place.of)) < chance) * size
    return (_grains(spots, radius) * np.sqrt(np.pi) * radius)[place.inside]


def _grains(points, radius):
    """Points blurred to grains; unit white noise keeps its variance."""
    return blur(points, radius) * np.float32(2 * np.sqrt(np.pi) * radius)


def _hairs(shape, hairs):
    """Phase of thin processes, lines of about a pixel's width; float32."""
    drawn = np.zeros(shape, np.uint8)
    lines = [np.rint(hair * 16).astype(np.int32) for hair in hairs]
    cv2.polylines(drawn, lines, False, 255, 1, cv2.LINE_AA, shift=4)
    return blur(drawn.astype(np.float32), 0.5) * np.float32(HAIR / 255)


def _smooth_noise(shape, scale, rng):
    """Noise of unit variance that changes over ``scale`` px; float32."""
    coarse = rng.standard_normal([side // scale + 3 for side in shape]).astype(np.float32)
    height, width = shape
    size = (width + 2 * scale, height + 2 * scale)
    fine = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    return fine[scale : scale + height, scale : scale + width]


def add_debris(phase, label, count, rng):
    """Add debris to a phase map outside the cells, in place.

    Parameters
    ----------
    phase : ndarray of float32, shape (height, width)
        Radians.
    label : ndarray of int32, same shape
        0 outside cells.
    count : int
        Number of specks.
    rng : numpy.random.Generator
    """
    rows, columns = np.ogrid[: phase.shape[0], : phase.shape[1]]
    last = np.array(phase.shape[::-1]) - 1
    places = rng.uniform(0, last[:, None], (2, count)).T
    adjacent = rng.random(count) < 0.3  # to the previous speck
    blurred = rng.random(count) < 0.15  # out of focus
    radius = 0.5 + rng.gamma(1.5, 0.25, count)
    amount = rng.gamma(2.0, 0.4, count)
    for i in range(count):
        if adjacent[i] and i:
            places[i] = np.clip(places[i - 1] + rng.normal(0, 4, 2), 0, last)
        x, y = places[i]
        if label[int(y), int(x)]:
            continue
        deviation, peak = (3.0 + radius[i], 0.25) if blurred[i] else (radius[i], amount[i])
        reach = int(3 * deviation) + 1
        down, across = (slice(max(int(c) - reach, 0), int(c) + reach + 1) for c in (y, x))
        away = (rows[down] - y) ** 2 + (columns[:, across] - x) ** 2
        phase[down, across] += peak * np.exp(-away / (2 * deviation**2))
