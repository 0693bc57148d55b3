"""Cells of one image as shapes that can be measured against each other and placed anew.

A cell is the union of a few discs inscribed in its mask. Distances between the discs of two cells
are those between their outlines and a pixel or two more, and much quicker to get: an analysis of
interactions measures some hundred re-placements of each image, and all of them in the same way.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage
from scipy.spatial.distance import cdist

from deepmucs_utils.data.masks import decode
from deepmucs_utils.errors import DeepMuCSError

COVER = 0.9  # share of a mask's pixels that its discs shall cover
MOST_DISCS = 10
CANDIDATES = 60  # pixels of a mask that discs are centred on
TRIES = 2000  # places tried for one cell before an image is given up
AT_ONCE = 8  # places drawn at once


@dataclass(frozen=True)
class Shape:
    """A cell without its place.

    Parameters
    ----------
    mask : ndarray of bool, shape (h, w)
        Cut to its bounding box.
    """

    mask: np.ndarray

    @cached_property
    def discs(self):
        """Centres (y, x) in the mask's pixels and radii of inscribed discs; shape (k, 3)."""
        padded = np.pad(self.mask, 1)
        # not OpenCV's exact transform, whose last digits vary from call to call
        depth = ndimage.distance_transform_edt(padded)[1:-1, 1:-1].astype(np.float32)
        pixels = np.argwhere(self.mask)
        radii = depth[self.mask] - 0.5
        step = max(1, len(pixels) // CANDIDATES)
        chosen = np.union1d(np.arange(0, len(pixels), step), radii.argmax())
        y, x = pixels.astype(np.float32).T
        squared = (y[chosen, None] - y) ** 2 + (x[chosen, None] - x) ** 2
        covers = squared <= radii[chosen, None] ** 2
        left = np.ones(len(pixels), bool)
        discs = []
        while len(discs) < MOST_DISCS and left.sum() > (1 - COVER) * left.size:
            best = (covers & left).sum(axis=1).argmax()
            discs.append((*pixels[chosen[best]], radii[chosen[best]]))
            left &= ~covers[best]
        return np.array(discs, float)

    @cached_property
    def turned(self):
        """The shape in the eight symmetries of the square: pairs of mask and discs."""
        variants = []
        for mirrored in (False, True):
            mask, discs = self.mask, self.discs
            if mirrored:
                mask = mask[:, ::-1]
                discs = discs * (1, -1, 1) + (0, mask.shape[1] - 1, 0)
            for _ in range(4):
                variants.append((np.ascontiguousarray(mask), discs))
                width = mask.shape[1]
                mask = np.rot90(mask)
                discs = discs[:, [1, 0, 2]] * (-1, 1, 1) + (width - 1, 0, 0)
        return variants


@dataclass(frozen=True)
class Scene:
    """The cells of one image.

    Parameters
    ----------
    size : tuple of int
        Height and width, px.
    shapes : tuple of Shape
    corners : ndarray of int, shape (n, 2)
        Top and left of each shape's bounding box, px.
    cultures : ndarray of str, shape (n,)
    """

    size: tuple
    shapes: tuple
    corners: np.ndarray
    cultures: np.ndarray

    @cached_property
    def at_border(self):
        """Whether a cell touches the image's border; bool, shape (n,)."""
        ends = self.corners + [shape.mask.shape for shape in self.shapes]
        return (self.corners <= 0).any(axis=1) | (ends >= self.size).any(axis=1)

    @cached_property
    def first_disc(self):
        """Index of each cell's first disc among all discs of the scene; int, shape (n,)."""
        counts = [len(shape.discs) for shape in self.shapes]
        return np.cumsum([0, *counts[:-1]])

    def discs(self):
        """All cells' discs in the image's pixels: y, x, radius; shape (sum of k, 3)."""
        return np.concatenate(
            [
                shape.discs + (*corner, 0)
                for shape, corner in zip(self.shapes, self.corners, strict=True)
            ]
        )


def read_scenes(ground_truth, records=None):
    """The scenes of a set, from its ground truth or from predictions.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.
    records : list of dict, optional
        Detections that count, from `operating_point.confident`; by default the ground truth's own
        cells without crowd regions. Where two overlap, the pixels go to the surer one.

    Returns
    -------
    list of Scene
        In the order of the ground truth's images.
    """
    if records is None:
        records = [a for a in ground_truth["annotations"] if not a.get("iscrowd")]
    names = {category["id"]: category["name"] for category in ground_truth["categories"]}
    by_image = {image["id"]: [] for image in ground_truth["images"]}
    for record in records:
        by_image[record["image_id"]].append(record)
    scenes = []
    for image in ground_truth["images"]:
        size = image["height"], image["width"]
        cells = sorted(by_image[image["id"]], key=lambda record: -record.get("score", 1))
        taken = np.zeros(size, bool)
        shapes, corners, cultures = [], [], []
        for record in cells:
            mask = decode(record["segmentation"], size) & ~taken
            if not mask.any():
                continue
            taken |= mask
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            shapes.append(Shape(mask[box]))
            corners.append((rows[0], columns[0]))
            cultures.append(names[record["category_id"]])
        corners = np.array(corners, int).reshape(-1, 2)
        scenes.append(Scene(size, tuple(shapes), corners, np.array(cultures, object)))
    return scenes


def boundary_distances(discs, first_disc):
    """Distance between the outlines of each two cells.

    Parameters
    ----------
    discs : ndarray of float, shape (m, 3)
        y, x, radius (px), cell after cell.
    first_disc : ndarray of int, shape (n,)
        Where each cell begins.

    Returns
    -------
    ndarray of float, shape (n, n)
        Px, 0 where they touch or overlap, infinite on the diagonal.
    """
    gap = cdist(discs[:, :2], discs[:, :2])
    gap -= discs[:, 2]
    gap = np.minimum.reduceat(gap, first_disc, axis=1)
    gap -= discs[:, 2:]
    gap = np.minimum.reduceat(gap, first_disc, axis=0)
    np.maximum(gap, 0, out=gap)
    np.fill_diagonal(gap, np.inf)
    return gap


def place_anew(scene, rng, hidden=0.0):
    """Place the same cells at random, the largest first, each where it overlaps no other.

    Cells at the border stay where they are: what lies outside the image is unknown, and so is
    their size. The others get a random symmetry and a place within the image, uniformly among
    those where they fit.

    Parameters
    ----------
    scene : Scene
    rng : numpy.random.Generator
    hidden : float
        Share of a cell that may lie under others, or that it may hide of one; 0 for cells that do
        not overlap.

    Returns
    -------
    ndarray of float, shape (sum of k, 3)
        Discs of all cells, as `Scene.discs` gives them.

    Raises
    ------
    DeepMuCSError
        If a cell finds no place.
    """
    height, width = scene.size
    owner = np.full(scene.size, -1, np.int32)
    areas = np.array([np.count_nonzero(shape.mask) for shape in scene.shapes])
    visible = areas.copy()
    discs = [None] * len(areas)
    order = np.lexsort((-areas, ~scene.at_border))
    for cell in order:
        shape, fixed = scene.shapes[cell], scene.at_border[cell]
        if fixed:
            mask, own = shape.mask, shape.discs
            top, left = scene.corners[cell]
        else:
            mask, own = shape.turned[rng.integers(8)]
            free = height - mask.shape[0] - 1, width - mask.shape[1] - 1
        for attempt in range(TRIES):
            if not fixed:
                if attempt % AT_ONCE == 0:
                    places = rng.random((AT_ONCE, 2)) * np.maximum(free, 1) + 1
                    places = places.astype(int).tolist()
                top, left = places[attempt % AT_ONCE]
            window = owner[top : top + mask.shape[0], left : left + mask.shape[1]]
            below = window[mask] if window.shape == mask.shape else None
            if fixed or _fits(below, areas[cell], areas, visible, hidden):
                break
        else:
            raise DeepMuCSError(
                f"a cell of {areas[cell]} px² found no place among {len(areas)} cells on "
                f"{height} × {width} px in {TRIES} tries; the image is too dense for re-placement."
            )
        covered = below[below >= 0]
        if covered.size:
            np.subtract.at(visible, covered, 1)
        window[mask] = cell
        discs[cell] = own + (top, left, 0)
    return np.concatenate(discs)


def _fits(below, area, areas, visible, hidden):
    if below is None:
        return False
    if below.max() < 0:
        return True
    if hidden == 0:
        return False
    below = below[below >= 0]
    if below.size > hidden * area:
        return False
    lost = np.bincount(below, minlength=areas.size)
    return bool((visible - lost >= (1 - hidden) * areas)[lost > 0].all())
