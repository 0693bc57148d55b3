"""Faults of a LIVECell root: what is missing, doubled, misplaced, implausible or not annotated.

The official download has all of these (facts by issue number of sartorius-research/LIVECell: #21
images with few of many cells annotated, #26 duplicates and overlap of splits, #30 double contours).
Nothing here goes by a list of known faults; everything is measured on the root itself.
"""

import hashlib
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from deepmucs_utils.data.clean_area import find_structure
from deepmucs_utils.data.cultures import PLAUSIBLE_AREAS
from deepmucs_utils.data.livecell import CACHE, SPLITS, LiveCell, read_images, read_index
from deepmucs_utils.data.masks import paint
from deepmucs_utils.errors import DeepMuCSError

DISTANCE = 12.0  # px from any mask, beyond which structure is no part of an annotated cell
UNANNOTATED = 15.0  # px, radius of the largest disc of structure: debris and dust stay below
TOLERANCE = 2.0  # px by which a polygon may leave the image

KINDS = {
    "missing image": "annotated, but the file is not there",
    "unreadable image": "the file is no image",
    "wrong size": "the file's size is not the annotations'",
    "extra image": "the file has no annotations",
    "duplicate image": "the same pixels or the same name twice in one split",
    "overlap of splits": "the same pixels or the same name in two splits",
    "well in two splits": "frames of one well show the same cells",
    "double contour": "two contours of one cell",
    "degenerate polygon": "fewer than three points, or no area",
    "polygon outside": "the polygon leaves the image",
    "implausible area": "far outside what the culture's cells measure",
    "unannotated cells": "structure as large as a cell, away from all masks",
}


def check_root(root, cache=CACHE, jobs=2):
    """Look for the faults of a LIVECell root.

    Parameters
    ----------
    root : path-like
    cache : path-like
    jobs : int
        Worker processes.

    Returns
    -------
    DataFrame
        One row a fault: ``kind`` (a key of `KINDS`), ``split``, ``file_name``, ``annotation_id``
        (-1 when it concerns an image) and ``detail``. Sorted, so that two runs agree.

    Raises
    ------
    DeepMuCSError
        If the root has no annotations at all, or a file of them is damaged.
    """
    livecell = LiveCell(root)
    splits = [split for split in SPLITS if livecell.has_split(split)]
    if not splits:
        raise DeepMuCSError(
            f"{livecell.root / 'annotations' / 'LIVECell'}: no annotations; expected "
            "livecell_coco_train.json, …_val.json or …_test.json; run `deepmucs download`."
        )
    faults, contents, wells = [], defaultdict(list), defaultdict(set)
    known = set()
    for split in splits:
        images = read_images(livecell, split, cache)
        known.update(images["file_name"])
        cells = dict(tuple(read_index(livecell, split, cache).groupby("file_name")))
        tasks = (
            delayed(_check_image)(livecell.find(image["file_name"]), image, cells.get(name))
            for name, image in zip(images["file_name"], images.to_dict("records"), strict=True)
        )
        results = Parallel(n_jobs=jobs, return_as="generator")(tasks)
        for image, (content, found) in tqdm(
            zip(images.itertuples(), results, strict=True),
            f"check {split}",
            len(images),
            unit="image",
            disable=None,
        ):
            name = image.file_name
            faults += [(kind, split, name, *rest) for kind, *rest in found]
            contents[content or name].append((split, name, image.image_id))
            wells[image.culture, image.well].add(split)
        for name in images["file_name"][images["file_name"].duplicated()].unique():
            ids = images["image_id"][images["file_name"] == name].tolist()
            detail = f"listed {len(ids)} times: ids {', '.join(map(str, ids))}"
            faults.append(("duplicate image", split, name, -1, detail))
    faults += _shared(contents)
    for (culture, well), where in sorted(wells.items()):
        if len(where) > 1:
            names = ", ".join(s for s in SPLITS if s in where)
            faults.append(("well in two splits", names, "", -1, f"{culture}, well {well}"))
    for name in sorted(livecell.files - known):
        faults.append(("extra image", "", name, -1, ""))
    table = pd.DataFrame(
        faults, columns=["kind", "split", "file_name", "annotation_id", "detail"]
    ).astype({"annotation_id": int})
    order = {kind: place for place, kind in enumerate(KINDS)}
    return table.sort_values(
        ["kind", "split", "file_name", "annotation_id"],
        key=lambda column: column.map(order) if column.name == "kind" else column,
        ignore_index=True,
    )


def _shared(contents):
    """Images with the same pixels, under another name or in another split."""
    for same in contents.values():
        by_split = defaultdict(set)
        for split, name, _ in same:
            by_split[split].add(name)
        for split, names in by_split.items():
            first, *others = sorted(names)
            for name in others:
                yield ("duplicate image", split, name, -1, f"the pixels of {first}")
        if len(by_split) > 1:
            splits = [split for split in SPLITS if split in by_split]
            first = min(by_split[splits[0]])
            for split in splits[1:]:
                for name in sorted(by_split[split]):
                    detail = f"also in {splits[0]}, as {first}"
                    yield ("overlap of splits", split, name, -1, detail)


def _check_image(path, image, cells):
    """Content hash (None without a readable file) and faults of one image and its cells."""
    if path is None:
        return None, [("missing image", -1, "")]
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        return None, [("unreadable image", -1, f"{Path(path).stat().st_size} bytes")]
    content = hashlib.sha256(pixels.tobytes() + str(pixels.shape).encode()).hexdigest()
    height, width = image["height"], image["width"]
    if pixels.shape != (height, width):
        detail = f"{pixels.shape[0]} × {pixels.shape[1]} px, annotated as {height} × {width} px"
        return content, [("wrong size", -1, detail)]
    mask = np.zeros(pixels.shape, bool)
    faults = []
    if cells is not None:
        faults, mask = check_cells(cells, image["culture"], pixels.shape)
    radius = unannotated_radius(pixels, mask)
    if radius >= UNANNOTATED:
        detail = f"a disc of {radius:.0f} px radius of structure without annotation"
        faults.append(("unannotated cells", -1, detail))
    return content, faults


def check_cells(cells, culture, shape):
    """Faults of the annotations of one image.

    Parameters
    ----------
    cells : DataFrame
        Rows of the index.
    culture : str
    shape : tuple of int
        Height and width of the image, px.

    Returns
    -------
    faults : list of (str, int, str)
        Kind, annotation id and detail.
    mask : ndarray of bool
        All annotated pixels.
    """
    height, width = shape
    ids, polygons = cells["annotation_id"].tolist(), cells["polygon"].tolist()
    faults, whole = [], []
    low, high = PLAUSIBLE_AREAS[culture]
    for number, polygon in zip(ids, polygons, strict=True):
        points = [np.reshape(part[: len(part) // 2 * 2], (-1, 2)) for part in polygon]
        area = sum(_area(part) for part in points)
        if not points or min(len(np.unique(part, axis=0)) for part in points) < 3 or area < 1:
            count = sum(map(len, points))
            faults.append(("degenerate polygon", number, f"{count} points, {area:.1f} px²"))
            continue
        whole.append((number, polygon))
        corners = np.concatenate(points)
        out = max(-corners.min(), (corners - (width, height)).max())
        if out > TOLERANCE:
            faults.append(("polygon outside", number, f"by {out:.0f} px"))
        inside = (corners > 1).all() and (corners < (width - 1, height - 1)).all()
        if area > high or (inside and area < low):  # the border may leave a small part of a cell
            detail = f"{area:.0f} px², expected {low} to {high} px²"
            faults.append(("implausible area", number, detail))
    scene = paint([polygon for _, polygon in whole], height, width)
    for row in np.flatnonzero(scene.double):
        faults.append(("double contour", whole[row][0], ""))
    return faults, scene.mask


def _area(points):
    """Area of a polygon by the shoelace formula, px²."""
    x, y = points[:, 0], points[:, 1]
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


def unannotated_radius(image, mask):
    """Radius of the largest disc of structure away from all masks, px.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)
    mask : ndarray of bool, shape (height, width)

    Returns
    -------
    float
        Debris and dust reach some 10 px, a cell that nobody annotated 15 px and more: the window
        of the local deviation adds 4 px.
    """
    structure, _ = find_structure(image, mask)
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) > DISTANCE
    lonely = np.pad(structure & away, 1).astype(np.uint8)
    return float(cv2.distanceTransform(lonely, cv2.DIST_L2, 5).max())


def describe(faults, most=12):
    """The faults in words: how many of each kind, and the first few.

    Parameters
    ----------
    faults : DataFrame
        See `check_root`.
    most : int
        Faults listed of each kind.

    Returns
    -------
    str
    """
    if not len(faults):
        return "no faults"
    lines = []
    for kind, meaning in KINDS.items():
        own = faults[faults["kind"] == kind]
        if not len(own):
            continue
        lines.append(f"{kind}: {len(own)} ({meaning})")
        for fault in own.head(most).itertuples():
            cell = f"annotation {fault.annotation_id}" if fault.annotation_id >= 0 else ""
            parts = (fault.split, fault.file_name, cell, fault.detail)
            lines.append("    " + ", ".join(part for part in parts if part))
        if len(own) > most:
            lines.append(f"    and {len(own) - most} more (see them all with --json)")
    return "\n".join(lines)
