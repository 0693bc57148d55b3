"""Faults of LIVECell's annotations, put into the phantom on purpose and listed.

LIVECell has cells without annotation, cells with two contours, images with only a few cells
annotated, images with two ids, and images in two splits (issues 21, 26 and 30 of
sartorius-research/LIVECell). The phantom has the first two at a low rate, so that a search for
faults has something to find, and the others on request. Its ``faults.json`` lists all of them.
"""

import itertools

import numpy as np

UNANNOTATED = 0.01  # share of cells without annotation
DOUBLE = 0.002  # share of cells with a second contour
FEW = (1, 9)  # cells that stay annotated in an image with few annotations


def spoil_cells(polygons, rng):
    """Leave a few cells of an image unannotated, and give a few a second contour.

    Parameters
    ----------
    polygons : list of ndarray of float, shape (n, 2)
    rng : numpy.random.Generator

    Returns
    -------
    polygons : list of ndarray of float, shape (n, 2)
    faults : list of dict
        ``kind`` and ``polygon`` (``[x0, y0, …]``, px): the cell without annotation, or the second
        contour.
    """
    kept, faults = [], []
    for polygon, chance in zip(polygons, rng.random(len(polygons)), strict=True):
        if chance < UNANNOTATED:
            faults.append(_fault("unannotated cells", polygon))
            continue
        kept.append(polygon)
        if chance > 1 - DOUBLE:
            middle = polygon.mean(0)
            kept.append(np.round(middle + 0.95 * (polygon - middle), 2))
            faults.append(_fault("double contour", kept[-1]))
    return kept, faults


def _fault(kind, polygon):
    return {"kind": kind, "polygon": polygon.round(2).ravel().tolist()}


def spoil_images(splits, count, rng):
    """Put faulty images into the annotations, in place.

    Parameters
    ----------
    splits : dict of str to dict
        For each split ``{"images": […], "annotations": […]}`` as in a COCO file; the first split
        gets the faults, and the second one images of the first.
    count : int
        Images with each kind of fault.
    rng : numpy.random.Generator

    Returns
    -------
    list of dict
        ``kind, split, file_name, image_id``: ``"few annotated"`` (most cells without annotation),
        ``"duplicate image"`` (a second id), ``"overlap of splits"``.
    """
    first, second = list(splits)[:2]
    source = splits[first]
    chosen = [source["images"][index] for index in rng.permutation(len(source["images"]))]
    used = [entry["id"] for coco in splits.values() for part in coco.values() for entry in part]
    ids = itertools.count(max(used) + 1)
    faults = []
    kinds = {"few annotated": first, "duplicate image": first, "overlap of splits": second}
    for kind, split in kinds.items():
        for _ in range(count):
            image = chosen.pop(0)
            if kind == "few annotated":
                _keep_few(source, image, rng)
            else:
                image = _copy(source, image, splits[split], ids)
            place = {"file_name": image["file_name"], "image_id": image["id"]}
            faults.append({"kind": kind, "split": split} | place)
    return faults


def _keep_few(coco, image, rng):
    """Remove the annotations of an image, in place, except for `FEW`."""
    cells = _cells(coco, image)
    kept = rng.permutation(len(cells))[: rng.integers(FEW[0], FEW[1] + 1)]
    removed = {cell["id"] for cell in cells} - {cells[index]["id"] for index in kept}
    coco["annotations"] = [cell for cell in coco["annotations"] if cell["id"] not in removed]


def _copy(source, image, target, ids):
    """List an image and its cells again in ``target``, in place, with new ids; the new entry."""
    again = image | {"id": next(ids)}
    target["images"].append(again)
    target["annotations"] += [
        cell | {"id": next(ids), "image_id": again["id"]} for cell in _cells(source, image)
    ]
    return again


def _cells(coco, image):
    return [cell for cell in coco["annotations"] if cell["image_id"] == image["id"]]
