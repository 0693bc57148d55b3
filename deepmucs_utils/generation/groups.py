"""Group donors: touching cells that are cut and pasted as one piece.

Free-standing cells are rare in LIVECell (64 to 100 % of cells touch a neighbour) and not typical.
Cells that touch share one rim, so they are pasted together, each with its own mask, provided that
the outline of the group is as free as that of a single donor.
"""

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from deepmucs_utils.data.masks import Scene
from deepmucs_utils.generation.cells import CLEARANCE, LEAST_FREE, boundary, window

MOST_CELLS = 12  # cells in a group
MOST_EXTENT = 240  # px, side of a group's box
_REACH = int(CLEARANCE) + 1  # px around a cell's box in which its neighbours lie


def contacts(scene: Scene):
    """Count which boundary pixels of each cell lie next to which other cell.

    Parameters
    ----------
    scene : Scene

    Returns
    -------
    lengths : ndarray of int, shape (rows,)
        Boundary pixels of each cell.
    touching : list of dict of int to int
        For each cell, its neighbours and how many of its boundary pixels lie within `CLEARANCE` px
        of each; only the nearest neighbour of a pixel counts.
    """
    lengths = np.zeros(len(scene.masks), int)
    touching = [{} for _ in scene.masks]
    for row, ((y0, x0, y1, x1), _) in enumerate(scene.masks):
        size = (y1 - y0 + 2 * _REACH, x1 - x0 + 2 * _REACH)
        here, _ = window(scene.owner.shape, size, y0 - _REACH, x0 - _REACH)
        owner = scene.owner[here]
        mask = owner == row
        edge = boundary(mask)
        lengths[row] = edge.sum()
        others = (owner >= 0) & ~mask
        if not (edge.any() and others.any()):
            continue
        away, nearest = cv2.distanceTransformWithLabels(
            (~others).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        cell_of = np.zeros(nearest.max() + 1, int)
        cell_of[nearest[others]] = owner[others]
        close = cell_of[nearest[edge & (away <= CLEARANCE)]]
        cells, counts = np.unique(close, return_counts=True)
        touching[row] = dict(zip(cells.tolist(), counts.tolist(), strict=True))
    return lengths, touching


def find_groups(scene: Scene, sound) -> list:
    """Find groups of touching cells whose outline is free.

    A small cluster is taken as a whole. In larger clusters, and in those with a faulty cell, groups
    are grown from cells that have little contact with the rest. No cell is in two groups.

    Parameters
    ----------
    scene : Scene
    sound : ndarray of bool, shape (rows,)
        Cells without a fault.

    Returns
    -------
    list of list of int
        Rows of the cells of each group, two to `MOST_CELLS`.
    """
    lengths, touching = contacts(scene)
    pairs = [(one, other) for one, around in enumerate(touching) for other in around]
    neighbours = [set(around) for around in touching]
    for one, other in pairs:
        neighbours[other].add(one)
    boxes = np.array([box for box, _ in scene.masks])
    groups, taken = [], ~np.asarray(sound)
    for cluster in _clusters(pairs, len(boxes)):
        whole = len(cluster) > 1 and not taken[cluster].any() and _fits(boxes[cluster])
        seeds = (seed for seed in cluster if not taken[seed])
        grown = (_grow(seed, taken, neighbours, lengths, touching, boxes) for seed in seeds)
        for group in [cluster] if whole else filter(None, grown):  # one by one, as ``taken`` grows
            groups.append(group)
            taken[group] = True
    return groups


def _clusters(pairs, cells):
    """Connected components of the touching cells, in the order of their first rows."""
    ends = np.array(pairs, int).reshape(-1, 2).T
    graph = coo_array((np.ones(ends.shape[1]), ends), (cells, cells))
    _, numbers = connected_components(graph, directed=False)
    order = np.argsort(numbers, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(numbers))[:-1])
    return sorted(part.tolist() for part in parts)


def _fits(boxes):
    """Whether cells with these boxes are few and close enough together for a group."""
    sides = boxes[:, 2:].max(0) - boxes[:, :2].min(0)
    return len(boxes) <= MOST_CELLS and sides.max() <= MOST_EXTENT


def _grow(seed, taken, neighbours, lengths, touching, boxes):
    """Add the neighbour that leaves the outline freest until it is free enough; [] if never."""
    group = [seed]
    while True:
        around = {row for member in group for row in neighbours[member]} - set(group)
        choices = [row for row in sorted(around) if not taken[row] and _fits(boxes[[*group, row]])]
        if not choices:
            return []
        shares = [free_share([*group, row], lengths, touching) for row in choices]
        group.append(choices[int(np.argmax(shares))])
        if max(shares) >= LEAST_FREE:
            return sorted(group)


def free_share(group, lengths, touching) -> float:
    """Share of a group's outline that touches no cell outside it.

    Parameters
    ----------
    group : sequence of int
        Rows of its cells.
    lengths, touching
        See `contacts`.

    Returns
    -------
    float
    """
    counts = [touch for member in group for touch in touching[member].items()]
    inner = sum(count for other, count in counts if other in group)
    outer = sum(count for _, count in counts) - inner
    outline = int(lengths[list(group)].sum()) - inner
    return 1 - outer / outline if outline > 0 else 0.0
