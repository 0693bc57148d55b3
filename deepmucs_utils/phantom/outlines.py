"""Outlines of phantom cells, drawn around the origin.

round     a disc with slight waves, for rounded and mitotic cells
smooth    an ellipse with low harmonics, for cells that become polygons in a sheet
polygon   corners joined by drawn-in sides, as of A172
neurite   a small drawn-in body with thin tapering processes, as of SHSY5Y
blebs     a heap of small discs: the remains of a dead cell
"""

import numpy as np

POINTS = 48  # vertices of a wavy outline
ANGLES = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
WAVES = {"round": 0.025, "smooth": 0.09}  # amplitude by form, as a share of the radius
# Most corners, variation of their distances and pull on the sides, by form.
CORNERS = {"polygon": (7, 0.35, 0.35), "neurite": (5, 0.5, 0.65)}
SIDE = np.linspace(0, 1, 8, endpoint=False)[:, None]  # positions along a drawn-in side


def draw_outline(state, radius, rng):
    """Draw the outline of one cell.

    Parameters
    ----------
    state : State
    radius : float
        Radius of the disc of equal area, px.
    rng : numpy.random.Generator

    Returns
    -------
    list of ndarray of float, shape (n, 2)
        Parts ``(x, y)``, px, whose union is the cell.
    """
    aspect = max(1 + (state.aspect - 1) * np.exp(0.5 * rng.standard_normal()), 1.0)
    stretch = np.array([np.sqrt(aspect), 1 / np.sqrt(aspect)])
    if state.form in WAVES:
        parts = [_wavy(WAVES[state.form], rng) * stretch]
    elif state.form in CORNERS:
        parts = [_drawn_in(*CORNERS[state.form], rng) * stretch]
    else:
        parts = _heap(rng)
    parts = [part * radius * np.sqrt(np.pi / _area(parts)) for part in parts]
    if state.form == "neurite":
        parts += _processes(parts[0], radius, rng)
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return [part @ rotation for part in parts]


def draw_hairs(body, centre, count, rng):
    """Thin processes, such as filopodia and retraction fibres, from the corners of a cell's body.

    Parameters
    ----------
    body : ndarray of float, shape (n, 2)
        Outline ``(x, y)``, px.
    centre : ndarray of float, shape (2,)
    count : int
    rng : numpy.random.Generator

    Returns
    -------
    list of ndarray of float, shape (7, 2)
        Lines that begin at the outline, px.
    """
    arms = body - centre
    reach = np.hypot(*arms.T)
    starts = rng.choice(len(body), count, p=reach**4 / (reach**4).sum())
    steps = np.linspace(0, 1, 7)
    hairs = []
    for start in starts:
        bend = np.arctan2(*arms[start][::-1]) + rng.normal(0, 0.4) + rng.normal(0, 0.7) * steps
        stride = rng.uniform(0.3, 0.9) * reach.mean() / len(steps)
        hairs.append(centre + 0.9 * arms[start] + np.cumsum(_directions(bend) * stride, 0))
    return hairs


def _directions(angles):
    """Unit vectors ``(x, y)`` at angles in radians; shape (n, 2)."""
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def _area(parts):
    """Area of the parts by the shoelace formula; those of a heap overlap by about a half."""
    outlines = [part.T for part in parts]
    total = sum(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) for x, y in outlines) / 2
    return total if len(parts) == 1 else 0.6 * total


def _wavy(amplitude, rng):
    """A disc of unit radius with low harmonics; shape (POINTS, 2)."""
    order = np.arange(2, 8)[:, None]
    size = amplitude * rng.standard_normal((6, 1)) * np.sqrt(2 / order)
    waves = size * np.cos(order * ANGLES + rng.uniform(0, 2 * np.pi, (6, 1)))
    return _directions(ANGLES) * np.clip(1 + waves.sum(0), 0.6, 1.5)[:, None]


def _drawn_in(most, variation, pull, rng):
    """Three or more corners at unequal distances, joined by sides drawn in towards the middle."""
    corners = int(rng.integers(3, most + 1))
    places = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * 2 * np.pi / corners
    reach = np.exp(variation * rng.standard_normal(corners)).clip(0.5, 2.6)
    ends = _directions(places) * reach[:, None]
    following = np.roll(ends, -1, 0)
    # the sides of a triangle already pass near its middle: draw them in less
    amount = pull * rng.uniform(0.3, 1.2, (corners, 1)) * min(1, (corners - 1) / 4)
    middle = (ends + following) / 2 * (1 - amount)
    a, m, b = ends[:, None], middle[:, None], following[:, None]
    return ((1 - SIDE) ** 2 * a + 2 * SIDE * (1 - SIDE) * m + SIDE**2 * b).reshape(-1, 2)


def _processes(body, radius, rng):
    """One or two thin tapering processes that start at corners of a body."""
    reach = np.hypot(*body.T)
    chance = reach**6 / (reach**6).sum()
    parts = []
    for _ in range(int(rng.integers(1, 3))):
        start = body[int(rng.choice(len(body), p=chance))]
        direction = np.arctan2(start[1], start[0]) + rng.normal(0, 0.25)
        steps = np.linspace(0, 1, 10)
        bend = direction + rng.normal(0, 0.6) * steps + 0.2 * np.sin(steps * rng.uniform(3, 9))
        stride = rng.uniform(0.8, 3.0) * radius / len(steps)
        path = start * 0.85 + np.cumsum(_directions(bend) * stride, 0)
        half = (1.4 - 1.1 * steps)[:, None] * min(radius / 8, 1.2)
        normal = (_directions(bend)[:, ::-1] * (-1, 1)) * half
        parts.append(np.vstack([path + normal, (path - normal)[::-1]]))
    return parts


def _heap(rng):
    """Four to nine overlapping discs."""
    circle, centre, discs = _directions(ANGLES[::4]), np.zeros(2), []
    for _ in range(int(rng.integers(4, 10))):
        discs.append(centre + circle * rng.uniform(0.25, 0.6))
        centre = centre * 0.6 + rng.normal(0, 0.45, 2)
    return discs
