"""Composing one co-culture image (paper, section II, last step).

Cells of several cultures are pasted on a cleared background to which artefacts were given back. The
order is that of a microscope's scene: artefacts, then large flat cells, then small round ones.
"""

from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from deepmucs_utils.data.cultures import CATEGORY_ID
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.backgrounds import mix

MOST_HIDDEN = 0.1  # share of a cell that may lie under others, or that it may hide of one
LEAST_INSIDE = 0.25  # share of a cell that the canvas' edge must leave
TRIES = 200  # places tried before a cell may overlap twice as much
LARGEST_OVERLAP = 0.4


@dataclass(frozen=True)
class Sprite:
    """A cutout after a symmetry, ready to be pasted.

    Parameters
    ----------
    residual : ndarray of float32, shape (h, w)
        Pixels minus the level of the donor's surroundings.
    mask : ndarray of bool, shape (h, w)
    matte : ndarray of float32, shape (h, w)
    """

    residual: np.ndarray
    mask: np.ndarray
    matte: np.ndarray


def make_sprite(cutout, symmetry):
    """Apply one of the eight symmetries of the square: ``symmetry % 4`` quarter turns, and a
    mirror image first when it is 4 or more."""

    def turn(array):
        array = array[:, ::-1] if symmetry >= 4 else array
        return np.ascontiguousarray(np.rot90(array, symmetry % 4))

    residual = cutout.pixels.astype(np.float32) - cutout.level
    return Sprite(turn(residual), turn(cutout.mask), turn(cutout.matte))


class Canvas:
    """An image in the making.

    Parameters
    ----------
    background : ndarray of uint8, shape (height, width)
    level : float
        The background's grey level.

    Attributes
    ----------
    owner : ndarray of int32, shape (height, width)
        Number of the cell that is visible at each pixel, -1 for none.
    """

    def __init__(self, background, level):
        self.deviation = background.astype(np.float32) - level
        self.level = level
        self.owner = np.full(background.shape, -1, np.int32)
        self._areas, self._visible = [], []

    def window(self, sprite, top, left):
        """Slices of the canvas and of a sprite whose corner lies at (top, left)."""
        height, width = self.owner.shape
        y0, x0 = max(top, 0), max(left, 0)
        y1 = min(top + sprite.mask.shape[0], height)
        x1 = min(left + sprite.mask.shape[1], width)
        return np.s_[y0:y1, x0:x1], np.s_[y0 - top : y1 - top, x0 - left : x1 - left]

    def fits(self, sprite, top, left, most_hidden):
        """Whether a cell may lie there: enough of it inside, not too much of any cell hidden."""
        here, part = self.window(sprite, top, left)
        mask = sprite.mask[part]
        area = np.count_nonzero(sprite.mask)
        if np.count_nonzero(mask) < LEAST_INSIDE * area:
            return False
        below = self.owner[here][mask]
        below = below[below >= 0]
        if below.size == 0:
            return True
        if below.size > most_hidden * area:
            return False
        hidden = np.bincount(below, minlength=len(self._areas))
        left_over = np.array(self._visible) - hidden
        return bool((left_over >= (1 - most_hidden) * np.array(self._areas))[hidden > 0].all())

    def paste(self, sprite, top, left):
        """Paste pixels through the matte; where another cell lies, only through the mask."""
        here, part = self.window(sprite, top, left)
        mask, matte = sprite.mask[part], sprite.matte[part]
        matte = np.where((self.owner[here] >= 0) & ~mask, 0, matte)
        self.deviation[here] = mix(sprite.residual[part], self.deviation[here], matte)

    def add_cell(self, sprite, top, left):
        """Paste a cell and record its mask above those that are there."""
        self.paste(sprite, top, left)
        here, part = self.window(sprite, top, left)
        mask = sprite.mask[part]
        below = self.owner[here][mask]
        for cell, hidden in zip(*np.unique(below[below >= 0], return_counts=True), strict=True):
            self._visible[cell] -= hidden
        self.owner[here][mask] = len(self._areas)
        self._areas.append(np.count_nonzero(mask))
        self._visible.append(np.count_nonzero(mask))

    def image(self):
        """The finished image, rounded once; uint8, shape (height, width)."""
        return np.rint(self.level + self.deviation).clip(0, 255).astype(np.uint8)


def place(canvas, sprite, rng):
    """Draw a place for a cell, uniformly over those where it fits.

    Returns
    -------
    top, left : int
        Corner of the sprite, px; may be negative.

    Raises
    ------
    DeepMuCSError
        If no place is found even with `LARGEST_OVERLAP`.
    """
    height, width = canvas.owner.shape
    h, w = sprite.mask.shape
    most_hidden = MOST_HIDDEN
    while most_hidden <= LARGEST_OVERLAP:
        for _ in range(TRIES):
            top = int(rng.integers(-(h // 2), height - h // 2))
            left = int(rng.integers(-(w // 2), width - w // 2))
            if canvas.fits(sprite, top, left, most_hidden):
                return top, left
        most_hidden *= 2
    raise DeepMuCSError(
        f"a cell of {h} × {w} px found no place on a canvas of {height} × {width} px that holds "
        f"{int(canvas.owner.max()) + 1} cells; take more images or fewer cells."
    )


def compose_image(plan, recipe, bank, seed):
    """Compose one image of a set.

    Parameters
    ----------
    plan : ImagePlan
    recipe : Recipe
    bank : Bank
    seed : int
        Seed of the set; the image has its own stream, so it does not depend on any other image.

    Returns
    -------
    image : ndarray of uint8, shape ``recipe.canvas``
    annotations : list of dict
        COCO annotations of what is visible of each cell.
    provenance : list of dict
        Where each cell comes from and where it went.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1 + plan.index,)))
    canvas, background = _open_canvas(recipe, bank, rng)
    _scatter_artefacts(canvas, bank, rng)

    table = bank.cutouts
    area = table["area"].to_numpy()
    cells = sorted(plan.cells, key=lambda cell: -area[cell[0]])
    placed = []
    for row, symmetry in cells:
        sprite = make_sprite(bank.cutout(row), symmetry)
        top, left = place(canvas, sprite, rng)
        canvas.add_cell(sprite, top, left)
        placed.append((row, symmetry, top, left))

    annotations, provenance = [], []
    for number, (row, symmetry, top, left) in enumerate(placed):
        donor = table.iloc[row]
        visible = canvas.owner == number
        rle = coco_mask.encode(np.asfortranarray(visible.astype(np.uint8)))
        ids = {"id": plan.first_id + number, "image_id": plan.index}
        annotations.append(
            ids
            | {
                "category_id": CATEGORY_ID[donor["culture"]],
                "bbox": coco_mask.toBbox(rle).tolist(),
                "area": int(visible.sum()),
                "iscrowd": 0,
                "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
            }
        )
        provenance.append(
            {
                "annotation_id": ids["id"],
                "image_id": plan.index,
                "block": plan.block,
                "culture": donor["culture"],
                "donor_image": donor["file_name"],
                "donor_annotation": int(donor["annotation_id"]),
                "donor_well": donor["well"],
                "donor_hours": float(donor["hours"]),
                "symmetry": symmetry,
                "top": top,
                "left": left,
                "visible": float(visible.sum() / donor["area"]),
                "background": background,
            }
        )
    return canvas.image(), annotations, provenance


def _open_canvas(recipe, bank, rng):
    """A window of a random background, turned by 180° half the time (noise keeps its axes)."""
    height, width = recipe.canvas
    table = bank.backgrounds
    row = int(rng.integers(len(table)))
    scene = bank.background(row)
    top = int(rng.integers(scene.shape[0] - height + 1))
    left = int(rng.integers(scene.shape[1] - width + 1))
    scene = scene[top : top + height, left : left + width]
    if rng.random() < 0.5:
        scene = scene[::-1, ::-1]
    return Canvas(scene, float(table["level"].iloc[row])), table["file_name"].iloc[row]


def _scatter_artefacts(canvas, bank, rng):
    """Paste artefacts at the rate at which the split has them; upright, as the noise is."""
    rows = bank.artefacts()
    if not len(rows):
        return
    height, width = canvas.owner.shape
    for row in rng.choice(rows, rng.poisson(bank.facts["artefact_rate"] * height * width)):
        sprite = make_sprite(bank.cutout(int(row)), 0)
        top = int(rng.integers(height - sprite.mask.shape[0] + 1))
        left = int(rng.integers(width - sprite.mask.shape[1] + 1))
        canvas.paste(sprite, top, left)
