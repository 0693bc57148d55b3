"""A phantom of LIVECell: synthetic phase-contrast images with exact annotations.

LIVECell may not be redistributed. The phantom has its layout, file names, statistics and look, so
that everything runs without it; results on the phantom say nothing about LIVECell.
"""

import itertools
import json
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from deepmucs_utils.data.livecell import SPLITS
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.phantom.cultures import PHANTOM_CULTURES, PhantomCulture
from deepmucs_utils.phantom.faults import spoil_cells, spoil_images
from deepmucs_utils.phantom.layout import annotate, arrange
from deepmucs_utils.phantom.optics import GREY, camera_noise, phase_contrast
from deepmucs_utils.phantom.phase import add_debris, cell_phase

SIZE = (520, 704)  # LIVECell's images, px
LEAST_AREA = 40  # px²; smaller remainders are not annotated
WELLS = 4  # per culture and split
HOURS = 76  # length of the experiment
COLUMNS = {"train": 1, "val": 5, "test": 9}  # first column of each split's wells on the plate
MOST_IMAGES = 8 * WELLS * HOURS  # per culture and split: two positions of four crops each
INFO = {
    "description": "Phantom of LIVECell: synthetic images, not LIVECell's",
    "contributor": "deepmucs phantom",
}


def write_phantom(
    out: str | Path,
    images: int = 4,
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
    images : int
        Images per culture and split.
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
    shots = [
        (split, culture, *_image_name(culture.name, split, index, images))
        for split in SPLITS
        for culture in cultures
        for index in range(images)
    ]
    *seeds, last = np.random.SeedSequence(seed).spawn(len(shots) + 1)
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    try:
        work = (
            delayed(_write_image)(_path(partial, split, name), culture, time, density, size, own)
            for (split, culture, name, time), own in zip(shots, seeds, strict=True)
        )
        written = Parallel(n_jobs=jobs, return_as="generator")(work)
        written = list(tqdm(written, "phantom", len(shots), unit="image", disable=None))
        splits, faults = _collect(shots, written, size)
        faults += spoil_images(splits, faulty_images, np.random.default_rng(last))
        _write_annotations(partial, splits)
        (partial / "faults.json").write_text(json.dumps(faults, indent=1))
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


def _image_name(culture, split, index, images):
    """LIVECell's file name of one of several images, and its time from 0 (sparse) to 1."""
    time = index / (images - 1) if images > 1 else 0.5
    days, hours = divmod(round(time * HOURS), 24)
    row = "ABCDEFGH"[sum(map(ord, culture)) % 8]
    visit, well = divmod(index, WELLS)
    position, crop = visit % 2 + 1, visit // 2 % 4 + 1
    well = f"{row}{COLUMNS[split] + well}"
    return f"{culture}_Phase_{well}_{position}_{days:02d}d{hours:02d}h00m_{crop}.tif", time


def _path(root, split, name):
    part = "test" if split == "test" else "train_val"
    return root / "images" / f"livecell_{part}_images" / name.split("_")[0] / name


def _write_image(path, culture, time, density, size, seed):
    """Draw and write one image; its annotated polygons and their faults."""
    rng = np.random.default_rng(seed)
    image, polygons = draw_image(culture, time, density, size, rng)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_TIFF_COMPRESSION, 5]):
        raise DeepMuCSError(f"{path}: could not be written; is the disk full?")
    return spoil_cells(polygons, rng)


def draw_image(culture, time, density, size, rng):
    """Draw one image of a culture.

    Parameters
    ----------
    culture : PhantomCulture
    time : float
        From 0, sparse, to 1, confluent.
    density : float
        Factor on the covered area.
    size : tuple of int
        Height and width, px.
    rng : numpy.random.Generator

    Returns
    -------
    image : ndarray of uint8, shape (height, width)
    polygons : list of ndarray of float, shape (n, 2)
        Outline ``(x, y)`` of each cell, px.
    """
    low, high = culture.cover
    cover = min(density * (low + (high - low) * time), 0.95)
    layout = arrange(culture, cover, time, size, rng)
    phase = cell_phase(culture, layout, rng)
    specks = culture.specks * size[0] * size[1] / (SIZE[0] * SIZE[1])
    add_debris(phase, layout.label, rng.poisson(specks), rng)
    grey = GREY + phase_contrast(phase) + camera_noise(size, *culture.noise, rng)
    cells = enumerate(zip(layout.windows(), layout.states, strict=True), 1)
    polygons = [
        annotate(layout.label, number, window, culture.states[state].hand, rng)
        for number, (window, state) in cells
        if window is not None
    ]
    polygons = [part for part in polygons if part is not None and _area(part) >= LEAST_AREA]
    return np.rint(grey).clip(0, 255).astype(np.uint8), polygons


def _area(polygon):
    return cv2.contourArea(polygon.astype(np.float32))


def _collect(shots, written, size):
    """Images and annotations of each split as in COCO files, and the faults of single cells."""
    splits = {split: {"images": [], "annotations": []} for split in SPLITS}
    faults, ids = [], itertools.count(1)
    for (split, _, name, _), (polygons, spoilt) in zip(shots, written, strict=True):
        image = {"id": next(ids), "width": size[1], "height": size[0], "file_name": name}
        splits[split]["images"].append(image)
        splits[split]["annotations"] += [
            _annotation(next(ids), image["id"], polygon) for polygon in polygons
        ]
        place = {"split": split, "file_name": name, "image_id": image["id"]}
        faults += [fault | place for fault in spoilt]
    return splits, faults


def _annotation(number, image_id, polygon):
    """A polygon as a COCO annotation."""
    low, high = polygon.min(0), polygon.max(0)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "segmentation": [polygon.round(2).ravel().tolist()],
        "area": float(_area(polygon)),
        "bbox": np.hstack([low, high - low]).round(2).tolist(),
        "iscrowd": 0,
    }


def _write_annotations(root, splits):
    """Write the three COCO files."""
    folder = root / "annotations" / "LIVECell"
    folder.mkdir(parents=True)
    categories = [{"supercategory": "cell", "id": 1, "name": "cell"}]
    for split, coco in splits.items():
        content = {"info": INFO, "licenses": [], "categories": categories} | coco
        (folder / f"livecell_coco_{split}.json").write_text(json.dumps(content))
