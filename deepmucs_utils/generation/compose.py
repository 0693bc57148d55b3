"""Composing one co-culture image (paper, section II, last step).

Cells of several cultures are pasted on a cleared background on which artefacts were pasted again.
The order is that of a scene under the microscope: artefacts, then flat cells, then round ones with
strong rims.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from hotcoco import mask as rle

from deepmucs_utils.data.cultures import CATEGORY_ID, CULTURE_NAMES
from deepmucs_utils.data.masks import encode
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.bank import Bank
from deepmucs_utils.generation.canvas import BLENDS, Canvas, Sprite
from deepmucs_utils.generation.placement import PLACEMENTS, Layout, Places
from deepmucs_utils.generation.plan import ImagePlan
from deepmucs_utils.generation.recipes import Recipe

ATTEMPTS = 5  # layouts tried for an image before it counts as too full


@dataclass(frozen=True)
class Style:
    """How cells are placed and pasted; all that the paper leaves open.

    Parameters
    ----------
    placement : {"clustered", "uniform", "interacting"}
        See `placement`.
    blend : {"matte", "hard"}
        How pixels are pasted: through the matte, or by the mask alone. The scene (which cells,
        where, with which masks) is the same for both.
    interactions : tuple of (str, str, float)
        Pairs of cultures and how strongly they attract (positive) or repel each other, for the
        placement ``interacting``; see `placement.Places`.

    Raises
    ------
    DeepMuCSError
        If a value is unknown, or interactions are given without the placement ``interacting``, or
        that without them.
    """

    placement: str = "clustered"
    blend: str = "matte"
    interactions: tuple = ()

    def __post_init__(self):
        for name, known in (("placement", PLACEMENTS), ("blend", BLENDS)):
            if (value := getattr(self, name)) not in known:
                raise DeepMuCSError(
                    f"{name} {value!r}: unknown; expected one of {', '.join(known)}."
                )
        for pair in self.interactions:
            if len(pair) != 3 or not set(pair[:2]) <= set(CULTURE_NAMES):
                raise DeepMuCSError(
                    f"interaction {pair!r}: expected two of {', '.join(CULTURE_NAMES)} and a "
                    "strength, such as A172:SkBr3:2."
                )
        if (self.placement == "interacting") != bool(self.interactions):
            raise DeepMuCSError(
                f"placement {self.placement!r} with {len(self.interactions)} interactions: give "
                "interactions with the placement interacting, and only with it."
            )


class _Piece(NamedTuple):
    """A donor in an image: its row in the bank, its symmetry, and where it lies (px)."""

    row: int
    symmetry: int
    sprite: Sprite
    top: int
    left: int


def compose_image(
    plan: ImagePlan, recipe: Recipe, bank: Bank, seed: int, style: Style | None = None
):
    """Compose one image of a set.

    Parameters
    ----------
    plan : ImagePlan
    recipe : Recipe
    bank : Bank
    seed : int
        Seed of the set. The image has its own stream of random numbers, so it does not depend on
        any other image.
    style : Style, optional
        How cells are placed and pasted.

    Returns
    -------
    image : ndarray of uint8, shape ``recipe.canvas``
    annotations : list of dict
        COCO annotations of what is visible of each cell.
    provenance : list of dict
        Where each cell comes from and where it lies.

    Raises
    ------
    DeepMuCSError
        If the background is smaller than the canvas or the cells find no place.
    """
    style = style or Style()
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1 + plan.index,)))
    canvas = _open_canvas(plan, recipe, bank, rng)
    _scatter_artefacts(canvas, bank, rng)
    pieces = _lay_out(plan, recipe, bank, style, rng)
    pieces.sort(key=lambda piece: _height(bank, piece.row))
    for piece in pieces:
        canvas.add(piece.sprite, piece.top, piece.left, style.blend)
    return canvas.image(), *_records(plan, bank, canvas, pieces)


def _open_canvas(plan, recipe, bank, rng):
    """A random window of the background, turned by 180° half the time (noise keeps its axes)."""
    height, width = recipe.canvas
    scene, entry = bank.background(plan.background), bank.backgrounds.iloc[plan.background]
    if scene.shape[0] < height or scene.shape[1] < width:
        raise DeepMuCSError(
            f"{entry['file_name']}: {scene.shape[0]} × {scene.shape[1]} px; expected at least the "
            f"canvas of {recipe.name}, {height} × {width} px."
        )
    top = int(rng.integers(scene.shape[0] - height + 1))
    left = int(rng.integers(scene.shape[1] - width + 1))
    scene = scene[top : top + height, left : left + width]
    if rng.random() < 0.5:
        scene = cv2.rotate(scene, cv2.ROTATE_180)
    return Canvas(scene, float(entry["level"]))


def _scatter_artefacts(canvas, bank, rng):
    """Paste artefacts at the rate of a random image; upright or by 180°, as the noise is."""
    rows, rates = bank.artefacts, bank.facts["artefact_rates"]
    if not len(rows) or not rates:
        return
    height, width = canvas.owner.shape
    number = int(rng.poisson(rates[rng.integers(len(rates))] * height * width))
    chosen = rng.choice(len(rows), min(number, len(rows)), replace=False, shuffle=False)
    turns = rng.integers(2, size=len(chosen))
    places = rng.random((2, len(chosen))).tolist()
    for row, turn, y, x in zip(rows[chosen].tolist(), turns.tolist(), *places, strict=True):
        sprite = bank.kept_sprite(row, 2 * turn)
        h, w = sprite.labels.shape
        canvas.paste(sprite, int(y * (height - h + 1)), int(x * (width - w + 1)))


def _lay_out(plan, recipe, bank, style, rng):
    """Find places for the pieces, the largest first; again from the start when the last ones find
    none."""
    sprites = [(row, symmetry, bank.sprite(row, symmetry)) for row, symmetry in plan.cells]
    sprites.sort(key=lambda piece: -piece[2].area)
    cultures, spacing = bank.columns["culture"], bank.facts["spacing"]
    for attempt in range(1, ATTEMPTS + 1):
        layout = Layout(recipe.canvas)
        places = Places(layout, rng, style.placement, spacing, style.interactions)
        try:
            return [
                _Piece(row, symmetry, sprite, *places.draw(sprite, cultures[row]))
                for row, symmetry, sprite in sprites
            ]
        except DeepMuCSError:
            if attempt == ATTEMPTS:
                raise


def _height(bank, row):
    """Order in depth: strong rims and round outlines lie above flat, spread cells."""
    return max(bank.columns["rim"][row], 0) * bank.columns["roundness"][row]


def _records(plan, bank, canvas, pieces):
    """Annotations and provenance of the cells of a finished canvas."""
    size, column = list(canvas.owner.shape), bank.columns
    background = bank.backgrounds["file_name"].iat[plan.background]
    annotations, provenance = [], []
    for number, piece in enumerate(pieces):
        culture = column["culture"][piece.row]
        donors = zip(bank.annotations(piece.row), piece.sprite.areas, strict=True)
        for index, (donor, whole) in enumerate(donors, len(annotations)):
            window, mask = canvas.visible(index)
            code, area = encode(window, mask, size), int(mask.sum())
            annotations.append(
                {
                    "id": plan.first_id + index,
                    "image_id": plan.index,
                    "category_id": CATEGORY_ID[culture],
                    "bbox": rle.to_bbox(code).tolist(),
                    "area": area,
                    "iscrowd": 0,
                    "segmentation": {"size": size, "counts": code["counts"].decode()},
                }
            )
            provenance.append(
                {
                    "annotation_id": plan.first_id + index,
                    "image_id": plan.index,
                    "block": plan.block,
                    "culture": culture,
                    "donor_image": column["file_name"][piece.row],
                    "donor_well": column["well"][piece.row],
                    "donor_hours": float(column["hours"][piece.row]),
                    "piece": number,
                    "symmetry": piece.symmetry,
                    "top": piece.top,
                    "left": piece.left,
                    "donor_annotation": int(donor),
                    "visible": area / int(whole),
                    "visible_area": area,
                    "background": background,
                }
            )
    return annotations, provenance
