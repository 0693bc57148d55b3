"""Faults of a LIVECell root: missing, duplicated, misplaced, implausible, not annotated.

The official download has all of these (facts by issue number of sartorius-research/LIVECell: #21
images with few of many cells annotated, #26 duplicates and overlap of splits, #30 double contours).
Nothing here relies on a list of known faults; everything is measured on the root itself.
"""

import hashlib

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from deepmucs_utils.data.clean_area import find_structure
from deepmucs_utils.data.cultures import PLAUSIBLE_AREAS
from deepmucs_utils.data.livecell import CACHE, SPLITS, LiveCell, read_images, read_index
from deepmucs_utils.data.masks import paint, segmentations

DISTANCE = 12.0  # px from any mask, beyond which structure is no part of an annotated cell
UNANNOTATED = 15.0  # px, radius of the largest disc of structure: debris and dust stay below
TOLERANCE = 2.0  # px by which a polygon may leave the image

_COLUMNS = ["kind", "split", "file_name", "annotation_id", "detail"]
KINDS = {
    "missing image": "annotated, but the file is not there",
    "unreadable image": "the file is not an image",
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


def check_root(root, cache=CACHE, jobs=2) -> pd.DataFrame:
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
        One row per fault: ``kind`` (a key of `KINDS`), ``split``, ``file_name``, ``annotation_id``
        (-1 when it concerns an image) and ``detail``. Sorted, so that two runs agree.

    Raises
    ------
    DeepMuCSError
        If the root has no annotations at all, or a file of them is damaged.
    """
    livecell = LiveCell(root)
    splits = [split for split in SPLITS if livecell.has_split(split)] or SPLITS[:1]
    found, seen = [], []
    for split in splits:
        images = read_images(livecell, split, cache)
        for name, ids in images.groupby("file_name")["image_id"]:
            if len(ids) > 1:
                detail = f"listed {len(ids)} times: ids {', '.join(map(str, ids))}"
                found.append(("duplicate image", split, name, -1, detail))
        images = images.drop_duplicates("file_name").sort_values("file_name")
        cells = dict(tuple(read_index(livecell, split, cache).groupby("file_name")))
        tasks = (
            delayed(_check_image)(livecell.paths.get(name), image, cells.get(name))
            for name, image in zip(images["file_name"], images.to_dict("records"), strict=True)
        )
        results = Parallel(n_jobs=jobs, return_as="generator")(tasks)
        bar = tqdm(results, f"check {split}", len(images), unit="image", disable=None)
        contents, faults = zip(*bar, strict=True)
        for name, of_image in zip(images["file_name"], faults, strict=True):
            found += [(kind, split, name, *rest) for kind, *rest in of_image]
        seen.append(images.assign(split=split, content=contents))
    seen = pd.concat(seen, ignore_index=True)
    for (culture, well), where in seen.groupby(["culture", "well"])["split"].unique().items():
        if len(where) > 1:
            detail = f"{culture}, well {well}"
            found.append(("well in two splits", ", ".join(where), "", -1, detail))
    for name in set(livecell.paths) - set(seen["file_name"]):
        found.append(("extra image", "", name, -1, ""))
    table = pd.concat([pd.DataFrame(found, columns=_COLUMNS), *_same_pixels(seen)])
    table = table.astype({"kind": pd.CategoricalDtype(KINDS, ordered=True)})
    return table.sort_values(_COLUMNS, ignore_index=True).astype({"kind": str})


def _same_pixels(seen):
    """Faults of images with the pixels of another one, in their split or in an earlier split."""
    seen = seen.assign(annotation_id=-1)
    first = seen.groupby(["content", "split"])["file_name"].transform("first")
    repeated = seen.assign(kind="duplicate image", detail="the pixels of " + first)
    yield repeated.loc[seen["file_name"] != first, _COLUMNS]
    first = seen.groupby("content")[["split", "file_name"]].transform("first")
    detail = "also in " + first["split"] + ", as " + first["file_name"]
    shared = seen.assign(kind="overlap of splits", detail=detail)
    yield shared.loc[seen["split"] != first["split"], _COLUMNS]


def _check_image(path, image, cells):
    """Content (a hash; the name of a file without pixels) and faults of one image and its cells.

    A fault is its kind, annotation id and detail.
    """
    if path is None:
        return image["file_name"], [("missing image", -1, "")]
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        return image["file_name"], [("unreadable image", -1, f"{path.stat().st_size} bytes")]
    content = hashlib.sha256(pixels.tobytes() + str(pixels.shape).encode()).hexdigest()
    height, width = image["height"], image["width"]
    if pixels.shape != (height, width):
        detail = f"{pixels.shape[0]} × {pixels.shape[1]} px, annotated as {height} × {width} px"
        return content, [("wrong size", -1, detail)]
    faults, mask = [], np.zeros(pixels.shape, bool)
    if cells is not None:
        faults, mask = _check_cells(cells, *PLAUSIBLE_AREAS[image["culture"]])
    radius = unannotated_radius(pixels, mask)
    if radius >= UNANNOTATED:
        detail = f"a disc of {radius:.0f} px radius of structure without annotation"
        faults.append(("unannotated cells", -1, detail))
    return content, faults


def _check_cells(cells, low, high):
    """Faults of the annotations of one image, and the mask of all annotated pixels.

    A crowd may have any area; at the border only a small part of a cell may be left.
    """
    height, width = cells[["height", "width"]].iloc[0]
    faults, sound = [], []
    columns = cells["annotation_id"], cells["iscrowd"], segmentations(cells)
    for number, crowd, segmentation in zip(*columns, strict=True):
        if not isinstance(segmentation, dict):
            parts = [np.reshape(part[: len(part) // 2 * 2], (-1, 2)) for part in segmentation]
            area = sum(cv2.contourArea(part.astype(np.float32)) for part in parts if len(part))
            if area < 1 or min(len(np.unique(part, axis=0)) for part in parts) < 3:
                detail = f"{sum(map(len, parts))} points, {area:.1f} px²"
                faults.append(("degenerate polygon", number, detail))
                continue
            corners = np.concatenate(parts)
            out = max(-corners.min(), (corners - (width, height)).max())
            if out > TOLERANCE:
                faults.append(("polygon outside", number, f"by {out:.0f} px"))
        sound.append((number, crowd, segmentation))
    scene = paint([segmentation for *_, segmentation in sound], height, width)
    painted = zip(sound, scene.masks, scene.double, strict=True)
    for (number, crowd, _), (box, mask), double in painted:
        area, inside = mask.sum(), min(box[:2]) > 0 and box[2] < height and box[3] < width
        if not crowd and (area > high or (inside and area < low)):
            detail = f"{area} px², expected {low} to {high} px²"
            faults.append(("implausible area", number, detail))
        if double:
            faults.append(("double contour", number, ""))
    return faults, scene.mask


def unannotated_radius(image, mask) -> float:
    """Radius of the largest disc of structure away from all masks, px.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)
    mask : ndarray of bool, shape (height, width)

    Returns
    -------
    float
        Debris and dust reach some 10 px, an unannotated cell 15 px and more: the window
        of the local deviation adds 4 px.
    """
    structure, _ = find_structure(image, mask)
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) > DISTANCE
    lonely = np.pad(structure & away, 1).astype(np.uint8)
    return float(cv2.distanceTransform(lonely, cv2.DIST_L2, 5).max())


def describe(faults, most=12) -> str:
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
    for kind, own in faults.groupby("kind", sort=False):
        lines.append(f"{kind}: {len(own)} ({KINDS[kind]})")
        for fault in own.head(most).itertuples():
            cell = f"annotation {fault.annotation_id}" if fault.annotation_id >= 0 else ""
            parts = (fault.split, fault.file_name, cell, fault.detail)
            lines.append("    " + ", ".join(part for part in parts if part))
        if len(own) > most:
            lines.append(f"    and {len(own) - most} more (see them all with --json)")
    return "\n".join(lines)
