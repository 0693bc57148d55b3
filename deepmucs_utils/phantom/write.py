"""A phantom of LIVECell: synthetic phase-contrast images with exact annotations.

LIVECell may not be redistributed. The phantom has its layout, file names, statistics and look, so
that everything runs without it; results on the phantom say nothing about LIVECell.
"""

import itertools
import json
import os
import re
import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from deepmucs_utils.data.livecell import SPLITS
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.phantom.cultures import PHANTOM_CULTURES, PhantomCulture
from deepmucs_utils.phantom.faults import (
    FEW_ANNOTATED,
    OF_IMAGES,
    choose_images,
    keep_few,
    spoil_cells,
)
from deepmucs_utils.phantom.layout import SIZE
from deepmucs_utils.phantom.plate import MOST_IMAGES, default_images, list_shots

INFO = {
    "description": "Phantom of LIVECell: synthetic images, not LIVECell's",
    "contributor": "deepmucs phantom",
}
CATEGORIES = [{"supercategory": "cell", "id": 1, "name": "cell"}]


def write_phantom(
    out: str | Path,
    images: int | None = None,
    cultures: list[str | PhantomCulture] | None = None,
    density: float = 1.0,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
    jobs: int = 2,
    faulty_images: int = 0,
) -> Path:
    """Write a phantom in LIVECell's layout.

    Parameters
    ----------
    out : path-like
        Folder of the new root; must not exist or be empty.
    images : int, optional
        Images per culture and split; default two of each well, in `plate.WELLS` wells.
    cultures : sequence of str or PhantomCulture, optional
        Names of LIVECell's cultures, or your own cultures; default all eight.
    density : float
        Factor on the covered area.
    size : tuple of int
        Height and width of an image, px.
    seed : int
    jobs : int
        Worker processes; the result does not depend on their number.
    faulty_images : int
        Images with each fault of whole images (few of many cells annotated, two ids, in two
        splits); see `deepmucs_utils.phantom.faults`.

    Returns
    -------
    Path
        The root. Its ``faults.json`` lists all faults of the annotations.

    Raises
    ------
    DeepMuCSError
        If a parameter is out of range or ``out`` is not empty.
    """
    out = Path(out)
    cultures = _choose(cultures)
    _check(out, images, cultures, density, size, faulty_images)
    shots = list_shots(cultures, images)
    names = [shot.name for shot in shots if shot.split == "train"]
    faulty = choose_images(names, faulty_images, np.random.default_rng(seed))
    few = {name for name, kind in faulty.items() if kind == FEW_ANNOTATED}
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        work = (
            delayed(_write_image)(_path(partial, shot), shot, density, size, seed, shot.name in few)
            for shot in shots
        )
        drawn = Parallel(n_jobs=jobs, return_as="generator")(work)
        drawn = tqdm(drawn, "phantom", len(shots), unit="image", disable=None)
        _write_annotations(partial, size, faulty, zip(shots, drawn, strict=True))
        if out.is_dir():
            out.rmdir()
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _choose(cultures):
    """The cultures to write, each once."""
    known = {culture.name: culture for culture in PHANTOM_CULTURES}
    chosen = [known.get(culture, culture) for culture in (known if cultures is None else cultures)]
    for culture in chosen:
        if not isinstance(culture, PhantomCulture):
            raise DeepMuCSError(
                f"culture {culture!r}: unknown; expected some of {', '.join(known)}, or a "
                "PhantomCulture."
            )
    return list(dict.fromkeys(chosen))


def _check(out, images, cultures, density, size, faulty_images):
    names = [culture.name for culture in cultures]
    images = default_images("train") if images is None else images
    train = images * len(cultures)
    for fine, problem in (
        (
            not out.exists() or (out.is_dir() and not any(out.iterdir())),
            f"{out}: is not an empty folder; expected a new folder for the phantom; choose another "
            "name or delete it.",
        ),
        (
            names
            and len(set(names)) == len(names)
            and all(re.fullmatch("[A-Za-z0-9]+", name) for name in names),
            f"cultures {', '.join(names)}: expected at least one name, of letters and digits as in "
            "LIVECell's file names, each only once; rename them.",
        ),
        (
            1 <= images <= MOST_IMAGES,
            f"images {images}: expected 1 to {MOST_IMAGES} per culture and split.",
        ),
        (0 < density <= 3, f"density {density}: expected a number above 0 and at most 3."),
        (
            len(size) == 2 and all(64 <= side <= 4096 for side in size),
            f"size {size}: expected height and width from 64 to 4096 px.",
        ),
        (
            0 <= 3 * faulty_images <= train,
            f"faulty_images {faulty_images}: expected 0 to a third of the {train} images of the "
            "train split; write more images or fewer faulty ones.",
        ),
    ):
        if not fine:
            raise DeepMuCSError(problem)


def _path(root, shot):
    part = "test" if shot.split == "test" else "train_val"
    return root / "images" / f"livecell_{part}_images" / shot.culture.name / shot.name


def _write_image(path, shot, density, size, seed, few):
    """Draw and write one image; its annotated polygons and their faults."""
    image, polygons, rng = shot.draw(density, size, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_TIFF_COMPRESSION, 5]):
        raise DeepMuCSError(f"{path}: could not be written; is the disk full?")
    return (keep_few(polygons, rng), []) if few else spoil_cells(polygons, rng)


def _write_annotations(root, size, faulty, drawn):
    """Write the COCO files and the list of faults while images arrive; memory holds one image."""
    folder = root / "annotations" / "LIVECell"
    folder.mkdir(parents=True)
    images, ids = {split: [] for split in SPLITS}, itertools.count(1)
    head = json.dumps({"info": INFO, "licenses": [], "categories": CATEGORIES})[:-1]
    with ExitStack() as stack:
        add_fault = stack.enter_context(_json_list(root / "faults.json"))
        add_cell = {
            split: stack.enter_context(
                _json_list(folder / f"livecell_coco_{split}.json", f'{head}, "annotations": ', own)
            )
            for split, own in images.items()
        }

        def add_image(split, name, polygons):
            place = {"file_name": name, "image_id": next(ids)}
            shape = {"width": size[1], "height": size[0]}
            images[split].append({"id": place["image_id"], "file_name": name} | shape)
            for polygon in polygons:
                add_cell[split](annotation(next(ids), place["image_id"], polygon))
            return {"split": split} | place

        for shot, (polygons, faults) in drawn:
            place = add_image(shot.split, shot.name, polygons)
            for fault in faults:
                add_fault(fault | place)
            if kind := faulty.get(shot.name):
                again = OF_IMAGES[kind]
                place = add_image(again, shot.name, polygons) if again else place
                add_fault({"kind": kind} | place)


@contextmanager
def _json_list(path, head="", images=None):
    """Write a JSON list entry by entry, as the annotations of a document with ``images`` if these
    are given; yields the function that appends an entry."""
    between = itertools.chain(["\n"], itertools.repeat(",\n"))
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{head}[")
        yield lambda entry: file.write(next(between) + json.dumps(entry))
        file.write("\n]\n" if images is None else f'\n], "images": {json.dumps(images)}}}\n')


def annotation(number, image_id, polygon):
    """A polygon as a COCO annotation."""
    low, high = polygon.min(0), polygon.max(0)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "segmentation": [polygon.round(2).ravel().tolist()],
        "area": float(cv2.contourArea(polygon.astype(np.float32))),
        "bbox": np.hstack([low, high - low]).round(2).tolist(),
        "iscrowd": 0,
    }
