"""Composing one co-culture image (paper, section II, last step).

Cells of several cultures are pasted on a cleared background to which artefacts were given back. The
order is that of a microscope's scene: artefacts, then flat cells, then round ones with strong rims.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from deepmucs_utils.data.cultures import CATEGORY_ID, CULTURE_NAMES
from deepmucs_utils.data.masks import run_lengths
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.canvas import BLENDS, Canvas, Sprite, make_sprite
from deepmucs_utils.generation.placement import PLACEMENTS, Layout, Places

MOST_KEPT = 4096  # artefacts kept ready to be pasted: some 20 MB
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
    """

    placement: str = "clustered"
    blend: str = "matte"
    interactions: tuple = ()

    def __post_init__(self):
        for name, known in (("placement", PLACEMENTS), ("blend", BLENDS)):
            value = getattr(self, name)
            if value not in known:
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


def compose_image(plan, recipe, bank, seed, style=None):
    """Compose one image of a set.

    Parameters
    ----------
    plan : ImagePlan
    recipe : Recipe
    bank : Bank
    seed : int
        Seed of the set; the image has its own stream, so it does not depend on any other image.
    style : Style, optional
        How cells are placed and pasted.

    Returns
    -------
    image : ndarray of uint8, shape ``recipe.canvas``
    annotations : list of dict
        COCO annotations of what is visible of each cell.
    provenance : list of dict
        Where each cell comes from and where it went.
    """
    style = style or Style()
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1 + plan.index,)))
    table = _table(bank)
    canvas, background = _open_canvas(plan, recipe, bank, rng)
    _scatter_artefacts(canvas, bank, rng)

    placed = []
    pieces = _lay_out(plan, bank, canvas.owner.shape, style, rng)
    pieces.sort(key=lambda piece: table["height_in_scene"][piece[0]])
    for number, (row, symmetry, sprite, top, left) in enumerate(pieces):
        canvas.add(sprite, top, left, style.blend)
        shared = {
            "culture": table["culture"][row],
            "donor_image": table["file_name"][row],
            "donor_well": table["well"][row],
            "donor_hours": table["hours"][row],
            "piece": number,
            "symmetry": symmetry,
            "top": top,
            "left": left,
        }
        placed += [
            shared | {"donor_annotation": int(donor), "area": int(area)}
            for donor, area in zip(table["ids"][_members(table, row)], sprite.areas, strict=True)
        ]
    return canvas.image(), *_records(plan, canvas, placed, background)


def _lay_out(plan, bank, shape, style, rng):
    """Turn the pieces and find their places, the largest first; again from the start when the last
    ones find none."""
    table = _table(bank)
    pieces = []
    for row, symmetry in plan.cells:
        centres, areas = (table[name][_members(table, row)] for name in ("centres", "areas"))
        sprite = make_sprite(bank.arrays(row), centres, areas, symmetry)
        pieces.append((row, symmetry, sprite))
    pieces.sort(key=lambda piece: -piece[2].area)
    interactions = {(one, other): pull for one, other, pull in style.interactions}
    for attempt in range(ATTEMPTS):
        places = Places(Layout(shape), rng, style.placement, bank.facts["spacing"], interactions)
        try:
            return [
                (*piece, *places.draw(piece[2], table["culture"][piece[0]])) for piece in pieces
            ]
        except DeepMuCSError:
            if attempt == ATTEMPTS - 1:
                raise


def _members(table, row):
    """Slice of the bank's members that are the cells of a cutout."""
    first = table["first_member"][row]
    return slice(first, first + table["cells"][row])


def _records(plan, canvas, placed, background):
    """Annotations and provenance of the cells of a finished canvas."""
    height, width = canvas.owner.shape
    visible = [canvas.visible(number) for number in range(len(placed))]
    runs = [{"size": [height, width], "counts": run_lengths(*v, (height, width))} for v in visible]
    rles = coco_mask.frPyObjects(runs, height, width) if runs else []
    boxes = coco_mask.toBbox(rles) if runs else []
    annotations, provenance = [], []
    for number, cell in enumerate(placed):
        area = sum(runs[number]["counts"][1::2])
        ids = {"id": plan.first_id + number, "image_id": plan.index}
        annotations.append(
            ids
            | {
                "category_id": CATEGORY_ID[cell["culture"]],
                "bbox": boxes[number].tolist(),
                "area": area,
                "iscrowd": 0,
                "segmentation": {
                    "size": [height, width],
                    "counts": rles[number]["counts"].decode(),
                },
            }
        )
        cell = dict(cell)
        share = {"visible": area / cell.pop("area"), "visible_area": area}
        share["background"] = background
        ids = {"annotation_id": ids["id"], "image_id": plan.index, "block": plan.block}
        provenance.append(ids | cell | share)
    return annotations, provenance


_TABLES = {}


def _table(bank):
    """The bank's columns that composing needs, as arrays and lists; made once a process."""
    if bank.folder not in _TABLES:
        cutouts, members = bank.cutouts, bank.members
        _TABLES.clear()
        names = ("culture", "file_name", "well", "hours", "first_member", "cells")
        _TABLES[bank.folder] = {name: cutouts[name].tolist() for name in names} | {
            # strong rims and round outlines lie above flat, spread cells
            "height_in_scene": (cutouts["rim"].clip(lower=0) * cutouts["roundness"]).tolist(),
            "centres": members[["y", "x"]].to_numpy(),
            "areas": members["area"].to_numpy(),
            "ids": members["annotation_id"].to_numpy(),
            "backgrounds": bank.backgrounds[["file_name", "level"]].values.tolist(),
            "artefacts": bank.artefacts(),
            "sprites": {},  # of artefacts
        }
    return _TABLES[bank.folder]


def _open_canvas(plan, recipe, bank, rng):
    """A random window of the background, turned by 180° half the time (noise keeps its axes)."""
    height, width = recipe.canvas
    name, level = _table(bank)["backgrounds"][plan.background]
    scene = bank.background(plan.background)
    if scene.shape[0] < height or scene.shape[1] < width:
        raise DeepMuCSError(
            f"{name}: {scene.shape[0]} × {scene.shape[1]} px; expected at "
            f"least the canvas of {recipe.name}, {height} × {width} px."
        )
    top = int(rng.integers(scene.shape[0] - height + 1))
    left = int(rng.integers(scene.shape[1] - width + 1))
    scene = scene[top : top + height, left : left + width]
    if rng.random() < 0.5:
        scene = cv2.rotate(scene, cv2.ROTATE_180)
    return Canvas(scene, level), name


def _artefact(bank, row, turned):
    """An artefact ready to be pasted, upright or by 180°; kept, since most are pasted often."""
    kept = _table(bank)["sprites"]
    if (row, turned) not in kept:
        if len(kept) == MOST_KEPT:
            kept.clear()
        *planes, level = bank.arrays(row)
        if turned:
            planes = [cv2.rotate(plane, cv2.ROTATE_180) for plane in planes]
        kept[row, turned] = Sprite(*planes, level, (), ())
    return kept[row, turned]


def _scatter_artefacts(canvas, bank, rng):
    """Paste artefacts at the rate of a random image; upright or by 180°, as the noise is."""
    rows, rates = _table(bank)["artefacts"], bank.facts["artefact_rates"]
    if not len(rows) or not rates:
        return
    height, width = canvas.owner.shape
    number = int(rng.poisson(rates[rng.integers(len(rates))] * height * width))
    chosen = rng.choice(len(rows), min(number, len(rows)), replace=False, shuffle=False)
    turns = rng.integers(2, size=len(chosen))
    places = rng.random((2, len(chosen))).tolist()
    for row, turn, y, x in zip(rows[chosen].tolist(), turns.tolist(), *places, strict=True):
        sprite = _artefact(bank, row, turn)
        h, w = sprite.labels.shape
        canvas.paste(sprite, int(y * (height - h + 1)), int(x * (width - w + 1)))
