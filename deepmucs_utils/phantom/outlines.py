"""Outlines of phantom cells: a radius for each direction, and thin processes."""

import numpy as np

DIRECTIONS = 256  # of a table of radii
ANGLES = np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False)
BRANCHES = 0.4  # of a process
FILOPODIA = 0.5  # of the cell, per process
WAVES = np.arange(2, 7)[:, None]  # orders of the slow waves
TIP = (0.2, 0.9)  # px of tips' radius of curvature over the root of the cell's radius


def radii(state, radius, rng):
    """Distance of a cell's edge from its centre, by direction.

    Parameters
    ----------
    state : State
    radius : float
        Radius of the disc of equal area, px.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32, shape (DIRECTIONS,)
        px, from the direction of the x axis towards y. The cell's long axis has a random direction.
    """
    turn = rng.uniform(0, 2 * np.pi)
    aspect = max(1 + (state.aspect - 1) * np.exp(0.5 * rng.standard_normal()), 1.0)
    along = ANGLES - turn
    table = 1 / np.hypot(np.cos(along) / aspect**0.5, np.sin(along) * aspect**0.5)
    if state.corners:
        table = table * _tips(max(2, rng.poisson(state.corners - 2) + 2), state.pull, turn, rng)
    size = state.wave * rng.standard_normal((len(WAVES), 1)) * (2 / WAVES) ** 0.8
    table = table * np.exp(
        (size * np.cos(WAVES * ANGLES + rng.uniform(0, 2 * np.pi, (len(WAVES), 1)))).sum(0)
    )
    table *= radius / np.sqrt((table**2).mean())
    if state.corners:
        table = _blunt(table, rng.uniform(*TIP) * radius**0.5)
        table *= radius / np.sqrt((table**2).mean())
    if state.ruffle:
        table += state.ruffle * _ruffle(rng) * rng.uniform(0.3, 1.5)
    return np.maximum(table, 1.5).astype(np.float32)


def _tips(count, pull, turn, rng):
    """Relative radius of a shape with tips at unequal distances and sides drawn in between."""
    places = (np.arange(count) + rng.uniform(0.05, 0.65, count)) * 2 * np.pi / count
    places = np.sort(places % (2 * np.pi))
    length = np.exp(0.2 * rng.standard_normal(count))
    following = np.append(places[1:], places[0] + 2 * np.pi)
    width = following - places
    side = np.searchsorted(places, (ANGLES - turn) % (2 * np.pi), side="right") - 1
    along = (((ANGLES - turn - places[side]) % (2 * np.pi)) / width[side]).clip(0, 1)
    low, high = length[side], length[(side + 1) % count]
    # the chord between two tips in polar form, then drawn in further
    span = np.minimum(width[side], 2.6)
    chord = np.sin(span) / (np.sin(span * (1 - along)) / high + np.sin(span * along) / low)
    amount = np.clip(pull * rng.uniform(0.4, 1.3, count), 0, 0.85)[side]
    bow = 1 - amount * (4 * along * (1 - along)) ** 0.8
    flat = low * (1 - along) + high * along
    return np.where(width[side] < 2.6, np.abs(chord), flat * 0.6).clip(0.25, 2.5) * bow


def _blunt(table, width):
    """Radii of an outline whose tips are rounded: its union with discs of radius ``width``."""
    turns = np.arange(-24, 25)[:, None]
    across = table[(np.arange(DIRECTIONS) + turns) % DIRECTIONS]
    side = across * np.sin(turns * (2 * np.pi / DIRECTIONS))
    reach = across * np.cos(turns * (2 * np.pi / DIRECTIONS))
    reach = reach + np.sqrt(np.maximum(width**2 - side**2, 0))
    return np.where(np.abs(side) <= width, reach, 0).max(0)


def _ruffle(rng):
    """Fine waves of unit variance, strong on one part of the outline and weak on another."""
    waves = np.fft.rfft(rng.standard_normal(DIRECTIONS))
    order = np.arange(len(waves))
    noise = np.fft.irfft(waves * np.exp(-(((order - 16) / 10.0) ** 2)) * (order > 4), DIRECTIONS)
    where = 1 + np.cos(ANGLES + rng.uniform(0, 2 * np.pi))
    return noise / noise.std() * where


def processes(state, table, rng):
    """Processes that taper from a cell's centre, their branches, and filopodia.

    Parameters
    ----------
    state : State
    table : ndarray of float32, shape (DIRECTIONS,)
        From `radii`.
    rng : numpy.random.Generator

    Returns
    -------
    list of ndarray of float, shape (n, 2)
        Closed polygons ``(x, y)`` around the cell's centre, px.
    """
    found = []
    radius = float(np.sqrt((table**2).mean()))
    chance = table.astype(float) ** 4
    chance /= chance.sum()
    twigs = []  # points and directions where thin branches and filopodia leave
    for _ in range(rng.poisson(state.processes)):
        start = int(rng.choice(DIRECTIONS, p=chance))
        length = table[start] + radius * state.reach * rng.gamma(4.0, 0.25)
        root = 0.5 * min(radius, table[start]) * rng.uniform(0.6, 1.1)
        thin = max(0.15, radius * rng.uniform(0.02, 0.06))
        path, bend, polygon = _arm(np.zeros(2), ANGLES[start], length, (root, thin), rng)
        found.append(polygon)
        for at in rng.integers(len(path) // 3, len(path), rng.poisson(BRANCHES)):
            twigs.append((path[at], bend[at] + rng.choice((-1, 1)) * rng.uniform(0.4, 1.1)))
    for start in rng.integers(DIRECTIONS, size=rng.poisson(FILOPODIA * state.processes)):
        point = 0.85 * table[start] * _unit(ANGLES[start])
        twigs.append((point, ANGLES[start] + rng.normal(0, 0.4)))
    for point, angle in twigs:
        length = radius * (0.3 + 0.3 * state.reach * rng.gamma(1.5, 0.6))
        width = 0.4 * rng.random(), rng.uniform(0.15, 0.4)
        found.append(_arm(point, angle, length, width, rng)[2])
    return found


def _arm(start, angle, length, width, rng):
    """Points along a process, its directions there, and its polygon; half its width falls from the
    sum of ``width`` to the second of them."""
    root, thin = width
    steps = np.linspace(0, 1, max(8, int(length / 2.5)))
    curl = rng.normal(0, 0.4) * steps**2 + np.cumsum(rng.normal(0, 0.8, len(steps))) / len(steps)
    bend = angle + curl
    forward = _unit(bend)
    path = start + np.cumsum(forward * (length / len(steps)), 0)
    half = thin + root * (1 - steps) ** 2
    half = half * np.minimum(1, 6 * (1.04 - steps))
    side = forward[:, ::-1] * (-1, 1) * half[:, None]
    return path, bend, np.vstack([path + side, (path - side)[::-1]])


def _unit(angles):
    """Unit vectors ``(x, y)``."""
    return np.stack([np.cos(angles), np.sin(angles)], -1)
