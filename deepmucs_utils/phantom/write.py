"""A phantom of LIVECell: synthetic phase-contrast images with exact annotations.

LIVECell itself may not be redistributed. The phantom has its layout, file names, statistics and
look, so that everything runs without it; nothing measured on the phantom says anything about
LIVECell.
"""

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
WELLS = 4  # of each culture and split
HOURS = 76  # length of the experiment
COLUMNS = {"train": 1, "val": 5, "test": 9}  # first column of each split's wells on the plate


def write_phantom(
    out, images=4, cultures=None, density=1.0, size=SIZE, seed=0, jobs=2, faulty_images=0
):
    """Write a phantom in LIVECell's layout.

    Parameters
    ----------
    out : path-like
        Folder of the new root; must not exist or be empty.
    images : int
        Images of each culture and split.
    cultures : sequence of str or PhantomCulture, optional
        Cultures to write, by name or as one's own; default all eight.
    density : float
        Factor on the covered area.
    size : tuple of int
        Height and width of an image, px.
    seed : int
    jobs : int
        Worker processes; the result does not depend on their number.
    faulty_images : int
        Images with each of the faults of whole images (few of many cells annotated, two ids, in two
        splits); see `deepmucs_utils.phantom.faults`.

    Returns
    -------
    Path
        The root. Its ``faults.json`` lists all faults of the annotations.

    Raises
    ------
    DeepMuCSError
        If a parameter makes no sense or ``out`` holds something already.
    """
    out = Path(out)
    known = {culture.name: culture for culture in PHANTOM_CULTURES}
    chosen = list(dict.fromkeys(known if cultures is None else cultures))
    _check(out, images, chosen, known, density, size, faulty_images)
    chosen = [known.get(culture, culture) for culture in chosen]
    tasks = [
        (split, culture, index) for split in SPLITS for culture in chosen for index in range(images)
    ]
    seeds = np.random.SeedSequence(seed).spawn(len(tasks) + 1)
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for split, culture, _ in tasks:
            _folder(partial, split, culture.name).mkdir(parents=True, exist_ok=True)
        work = (
            delayed(_write_image)(partial, *task, images, density, size, one)
            for task, one in zip(tasks, seeds[:-1], strict=True)
        )
        written = Parallel(n_jobs=jobs, return_as="generator")(work)
        written = list(tqdm(written, "phantom", len(tasks), unit="image", disable=None))
        splits, faults = _collect(tasks, written, size)
        faults += spoil_images(splits, faulty_images, np.random.default_rng(seeds[-1]))
        _write_annotations(partial, splits)
        (partial / "faults.json").write_text(json.dumps(faults, indent=1))
        if out.is_dir():
            out.rmdir()
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _check(out, images, chosen, known, density, size, faulty_images):
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DeepMuCSError(
            f"{out}: exists already and is not an empty folder; expected a new folder for the "
            "phantom; name another one or delete it."
        )
    for culture in chosen:
        if culture not in known and not isinstance(culture, PhantomCulture):
            raise DeepMuCSError(
                f"culture {culture!r}: unknown; expected some of {', '.join(known)}, or a "
                "PhantomCulture."
            )
        if isinstance(culture, PhantomCulture) and not re.fullmatch("[A-Za-z0-9]+", culture.name):
            raise DeepMuCSError(
                f"culture {culture.name!r}: expected a name of letters and digits, as the prefix "
                "of LIVECell's file names is; name it so."
            )
    names = [known.get(culture, culture).name for culture in chosen]
    if len(set(names)) < len(names):
        raise DeepMuCSError(f"cultures {', '.join(names)}: expected a name only once; rename one.")
    if not chosen:
        raise DeepMuCSError(f"no cultures; expected some of {', '.join(known)}.")
    most = 8 * WELLS * HOURS
    if not 1 <= images <= most:
        raise DeepMuCSError(f"images {images}: expected 1 to {most} a culture and split.")
    if not 0 < density <= 3:
        raise DeepMuCSError(f"density {density}: expected a number above 0 and at most 3.")
    if len(size) != 2 or not all(64 <= side <= 4096 for side in size):
        raise DeepMuCSError(f"size {size}: expected height and width from 64 to 4096 px.")
    if not 0 <= 3 * faulty_images <= images * len(chosen):
        raise DeepMuCSError(
            f"faulty_images {faulty_images}: expected 0 to a third of the {images * len(chosen)} "
            "images of the train split; ask for more images or fewer faulty ones."
        )


def _folder(root, split, culture):
    part = "test" if split == "test" else "train_val"
    return root / "images" / f"livecell_{part}_images" / culture


def image_name(culture, split, index, images):
    """LIVECell's file name of one image of the phantom, and its time.

    Parameters
    ----------
    culture, split : str
    index, images : int
        Which of how many images.

    Returns
    -------
    name : str
    time : float
        From 0, sparse, to 1, confluent.
    """
    time = index / (images - 1) if images > 1 else 0.5
    hours = round(time * HOURS)
    row = "ABCDEFGH"[sum(map(ord, culture)) % 8]
    well = f"{row}{COLUMNS[split] + index % WELLS}"
    visit = index // WELLS
    place, crop = visit % 2 + 1, visit // 2 % 4 + 1
    return f"{culture}_Phase_{well}_{place}_{hours // 24:02d}d{hours % 24:02d}h00m_{crop}.tif", time


def _write_image(root, split, culture, index, images, density, size, seed):
    """Draw and write one image; its name, polygons and faults."""
    name, time = image_name(culture.name, split, index, images)
    rng = np.random.default_rng(seed)
    image, polygons = draw_image(culture, time, density, size, rng)
    polygons, faults = spoil_cells(polygons, rng)
    path = _folder(root, split, culture.name) / name
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_TIFF_COMPRESSION, 5]):
        raise DeepMuCSError(f"{path}: could not be written; is the disk full?")
    return name, polygons, faults


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
    polygons = []
    for number, box in enumerate(layout.boxes, 1):
        if box is None:
            continue
        hand = culture.states[layout.states[number - 1]].hand
        polygon = annotate(layout.label, number, box, hand, rng)
        if polygon is not None and cv2.contourArea(polygon.astype(np.float32)) >= LEAST_AREA:
            polygons.append(polygon)
    return np.rint(grey).clip(0, 255).astype(np.uint8), polygons


def _collect(tasks, written, size):
    """Images and annotations of each split as in COCO files, and the faults of single cells."""
    splits = {split: {"images": [], "annotations": []} for split in SPLITS}
    faults, number = [], 1
    for (split, _, _), (name, polygons, spoilt) in zip(tasks, written, strict=True):
        image_id, number = number, number + 1
        splits[split]["images"].append(
            {"id": image_id, "width": size[1], "height": size[0], "file_name": name}
        )
        for polygon in polygons:
            splits[split]["annotations"].append(_annotation(number, image_id, polygon))
            number += 1
        place = {"split": split, "file_name": name, "image_id": image_id}
        faults += [fault | place for fault in spoilt]
    return splits, faults


def _write_annotations(root, splits):
    """Write the three COCO files."""
    folder = root / "annotations" / "LIVECell"
    folder.mkdir(parents=True)
    info = {
        "description": "Phantom of LIVECell: synthetic images, not LIVECell's",
        "contributor": "deepmucs phantom",
    }
    categories = [{"supercategory": "cell", "id": 1, "name": "cell"}]
    for split, coco in splits.items():
        coco = {"info": info, "licenses": [], "categories": categories} | coco
        (folder / f"livecell_coco_{split}.json").write_text(json.dumps(coco))


def _annotation(number, image_id, polygon):
    """A polygon as a COCO annotation."""
    low, high = polygon.min(0), polygon.max(0)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "segmentation": [polygon.round(2).ravel().tolist()],
        "area": float(cv2.contourArea(polygon.astype(np.float32))),
        "bbox": [*low.round(2).tolist(), *(high - low).round(2).tolist()],
        "iscrowd": 0,
    }
