"""Cells of one image as shapes whose distances can be measured and that can be placed at random.

A cell is the union of a few discs inscribed in its mask. The distance between the discs of two
cells exceeds that between their outlines by a pixel or two and is much faster to compute: an
analysis of interactions measures some hundred re-placements of each image.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage
from scipy.spatial.distance import cdist

from deepmucs_utils.data.masks import decode
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.records import by_image, culture_names

COVER = 0.9  # share of a mask's pixels that its discs should cover
MOST_DISCS = 10
CANDIDATES = 60  # pixels of a mask that discs are centred on
TRIES = 2000  # places tried for one cell before giving up
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
    def discs(self) -> np.ndarray:
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
    def turned(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The shape in the eight symmetries of the square: pairs of mask and discs."""
        variants, mask, discs = [], self.mask, self.discs
        for turn in range(8):
            variants.append((np.ascontiguousarray(mask), discs))
            last = mask.shape[1] - 1
            mask, discs = np.rot90(mask), discs[:, [1, 0, 2]] * (-1, 1, 1) + (last, 0, 0)
            if turn == 3:  # back in its first place: the other four are of its mirror image
                last = mask.shape[1] - 1
                mask, discs = mask[:, ::-1], discs * (1, -1, 1) + (0, last, 0)
        return variants


@dataclass(frozen=True)
class Field:
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
    def at_border(self) -> np.ndarray:
        """Whether a cell touches the image's border; bool, shape (n,)."""
        ends = self.corners + [shape.mask.shape for shape in self.shapes]
        return (self.corners <= 0).any(axis=1) | (ends >= self.size).any(axis=1)

    @cached_property
    def first_disc(self) -> np.ndarray:
        """Index of each cell's first disc among all discs of the image; int, shape (n,)."""
        counts = [len(shape.discs) for shape in self.shapes]
        return np.cumsum([0, *counts[:-1]])

    def discs(self) -> np.ndarray:
        """All cells' discs in the image's pixels: y, x, radius; shape (sum of k, 3)."""
        placed = zip(self.shapes, self.corners, strict=True)
        return np.concatenate([shape.discs + (*corner, 0) for shape, corner in placed])


def read_fields(ground_truth, records=None) -> list[Field]:
    """The cells of each image of a set, from its ground truth or from predictions.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.
    records : list of dict, optional
        Detections that count, from `counting.confident`; by default the ground truth's own
        cells without crowd regions. Where two overlap, the pixels go to the higher score.

    Returns
    -------
    list of Field
        In the order of the ground truth's images.
    """
    names = culture_names(ground_truth)
    if records is None:
        records = [cell for cell in ground_truth["annotations"] if not cell.get("iscrowd")]
    cells_of, fields = by_image(records), []
    for image in ground_truth["images"]:
        size = image["height"], image["width"]
        taken = np.zeros(size, bool)
        shapes, corners, cultures = [], [], []
        for record in sorted(cells_of[image["id"]], key=lambda record: -record.get("score", 1)):
            mask = decode(record["segmentation"], size) & ~taken
            if mask.any():
                taken |= mask
                box = ndimage.find_objects(mask.view(np.uint8))[0]
                shapes.append(Shape(mask[box]))
                corners.append([side.start for side in box])
                cultures.append(names[record["category_id"]])
        corners = np.array(corners, int).reshape(-1, 2)
        fields.append(Field(size, tuple(shapes), corners, np.array(cultures, object)))
    return fields


def boundary_distances(discs, first_disc) -> np.ndarray:
    """Distance between the outlines of each pair of cells.

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


def place_at_random(field, rng, hidden=0.0) -> np.ndarray:
    """Place the same cells at random, the largest first, each where it overlaps no other.

    Cells at the border stay where they are: what lies outside the image is unknown, and so is
    their size. The others get a random symmetry and a place within the image, uniformly among
    those where they fit.

    Parameters
    ----------
    field : Field
    rng : numpy.random.Generator
    hidden : float
        Share of a cell that may lie under others, or that it may hide of one; 0 for cells that do
        not overlap.

    Returns
    -------
    ndarray of float, shape (sum of k, 3)
        Discs of all cells, as `Field.discs` gives them.

    Raises
    ------
    DeepMuCSError
        If a cell finds no place.
    """
    owner = np.full(field.size, -1, np.int32)
    areas = np.array([np.count_nonzero(shape.mask) for shape in field.shapes])
    visible = areas.copy()
    discs = [None] * len(areas)
    for cell in np.lexsort((-areas, ~field.at_border)):
        shape, fixed = field.shapes[cell], field.at_border[cell]
        mask, own = (shape.mask, shape.discs) if fixed else shape.turned[rng.integers(8)]
        places = [field.corners[cell]] if fixed else _places(rng, field.size, mask.shape)
        for top, left in places:
            window = owner[top : top + mask.shape[0], left : left + mask.shape[1]]
            if window.shape == mask.shape:
                below = window[mask]
                if fixed or _fits(below, areas, visible, hidden):
                    break
        else:
            raise DeepMuCSError(
                f"a cell of {areas[cell]} px² found no place among {len(areas)} cells on "
                f"{field.size[0]} × {field.size[1]} px in {TRIES} tries; the image is too dense "
                "for re-placement."
            )
        np.subtract.at(visible, below[below >= 0], 1)
        window[mask] = cell
        discs[cell] = own + (top, left, 0)
    return np.concatenate(discs)


def _places(rng, size, shape):
    """Random top left corners at which a shape lies within the image, a few at a time."""
    free = np.maximum(np.subtract(size, shape) - 1, 1)
    for _ in range(TRIES // AT_ONCE):
        yield from (rng.random((AT_ONCE, 2)) * free + 1).astype(int).tolist()


def _fits(below, areas, visible, hidden):
    """Whether a cell may lie on these pixels of other cells (-1: of none)."""
    covered = below[below >= 0]
    if covered.size > hidden * below.size:
        return False
    lost = np.bincount(covered, minlength=areas.size)
    return bool((visible - lost >= (1 - hidden) * areas)[lost > 0].all())
