"""Group donors: touching cells that are cut and pasted as one piece.

Free-standing cells are rare in LIVECell (64 to 100 % of cells touch a neighbour) and not typical.
Cells that touch share one rim, so they move together, each with its own mask, wherever the outline
of the group is as free as that of a single donor.
"""

import cv2
import numpy as np

from deepmucs_utils.generation.cells import CLEARANCE, LEAST_FREE, boundary

MOST_CELLS = 12  # cells in a group
MOST_EXTENT = 240  # px, side of a group's box


def contacts(scene):
    """Count which boundary pixels of each cell lie next to which other cell.

    Parameters
    ----------
    scene : Scene

    Returns
    -------
    lengths : ndarray of int, shape (rows,)
        Boundary pixels of each cell.
    touching : list of dict of int to int
        For each cell, its neighbours, and how many of its boundary pixels lie within `CLEARANCE`
        px of each, the nearest one counting.
    """
    rows = len(scene.masks)
    reach = int(CLEARANCE)
    lengths = np.zeros(rows, int)
    touching = [{} for _ in range(rows)]
    height, width = scene.owner.shape
    for row, ((y0, x0, y1, x1), _) in enumerate(scene.masks):
        top, left = max(y0 - reach - 1, 0), max(x0 - reach - 1, 0)
        window = np.s_[top : min(y1 + reach + 1, height), left : min(x1 + reach + 1, width)]
        owner = scene.owner[window]
        mask = owner == row
        if not mask.any():
            continue
        edge = boundary(mask)
        lengths[row] = edge.sum()
        others = (owner >= 0) & ~mask
        if not others.any():
            continue
        away, nearest = cv2.distanceTransformWithLabels(
            (~others).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        close = edge & (away <= CLEARANCE)
        names = np.zeros(nearest.max() + 1, int)
        names[nearest[others]] = owner[others]
        for other, count in zip(*np.unique(names[nearest[close]], return_counts=True), strict=True):
            touching[row][int(other)] = int(count)
    return lengths, touching


def find_groups(scene, sound):
    """Find groups of touching cells whose outline is free.

    Whole clusters are taken where they are small enough; out of larger ones, and of those that
    the border or a faulty contour spoils, cells are gathered that have little contact with the
    rest. No cell is in two groups.

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
    neighbours = [set(around) for around in touching]
    for first, around in enumerate(touching):
        for second in around:
            neighbours[second].add(first)
    boxes = np.array([box for box, _ in scene.masks])
    groups, taken = [], ~np.asarray(sound)
    for cluster in _clusters(neighbours):
        members = [row for row in cluster if not taken[row]]
        if len(members) == len(cluster) and _fits(boxes[members]):
            if len(members) > 1:
                groups.append(members)
                taken[members] = True
            continue
        for seed in members:
            if taken[seed]:
                continue
            group = _grow(seed, taken, neighbours, lengths, touching, boxes)
            if group:
                groups.append(group)
                taken[group] = True
    return groups


def _clusters(neighbours):
    """Connected components, in the order of their first rows."""
    seen = set()
    for start in range(len(neighbours)):
        if start in seen:
            continue
        cluster, queue = [], [start]
        seen.add(start)
        while queue:
            row = queue.pop()
            cluster.append(row)
            fresh = neighbours[row] - seen
            seen |= fresh
            queue.extend(sorted(fresh))
        yield sorted(cluster)


def _fits(boxes):
    sides = boxes[:, 2:].max(0) - boxes[:, :2].min(0)
    return len(boxes) <= MOST_CELLS and sides.max() <= MOST_EXTENT


def _grow(seed, taken, neighbours, lengths, touching, boxes):
    """Add the neighbour that leaves the outline freest until it is free enough; None if never."""
    group = [seed]
    while True:
        around = {row for member in group for row in neighbours[member]} - set(group)
        choices = [row for row in sorted(around) if not taken[row] and _fits(boxes[[*group, row]])]
        if not choices:
            return None
        shares = [free_share([*group, row], lengths, touching) for row in choices]
        group.append(choices[int(np.argmax(shares))])
        if max(shares) >= LEAST_FREE:
            return sorted(group)


def free_share(group, lengths, touching):
    """Share of a group's outline that touches no cell outside it.

    Parameters
    ----------
    group : sequence of int
    lengths, touching
        See `contacts`.

    Returns
    -------
    float
    """
    members = set(group)
    inner = outer = 0
    for member in group:
        for other, count in touching[member].items():
            if other in members:
                inner += count
            else:
                outer += count
    outline = int(lengths[list(group)].sum()) - inner
    return 1 - outer / outline if outline > 0 else 0.0
