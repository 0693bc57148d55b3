"""Faults of LIVECell's annotations, put into the phantom on purpose and listed.

LIVECell has cells that nobody annotated, double contours of one cell, images of which only a few
cells are annotated, images with two ids, and images in two splits (issues 21, 26 and 30 of
sartorius-research/LIVECell). The phantom has the first two at a low rate, so that whatever looks
for faults has something to find, and the others on request. ``faults.json`` in its root lists all.
"""

import numpy as np

UNANNOTATED = 0.01  # share of cells that are left out
DOUBLE = 0.002  # share of cells that have a second contour
FEW = (1, 9)  # cells that stay annotated in an image of which most are left out


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
        ``kind`` and ``polygon`` (``[x0, y0, …]``, px): of the cell that is left out, or of the
        second contour.
    """
    kept, faults = [], []
    for polygon, chance in zip(polygons, rng.random(len(polygons)), strict=True):
        if chance < UNANNOTATED:
            faults.append(_fault("unannotated cells", polygon))
            continue
        kept.append(polygon)
        if chance > 1 - DOUBLE:
            middle = polygon.mean(0)
            again = np.round(middle + 0.95 * (polygon - middle), 2)
            kept.append(again)
            faults.append(_fault("double contour", again))
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
        Images of each kind of fault.
    rng : numpy.random.Generator

    Returns
    -------
    list of dict
        ``kind, split, file_name, image_id``: ``"few annotated"`` (most cells left out),
        ``"duplicate image"`` (a second id), ``"overlap of splits"``.
    """
    first, second = list(splits)[:2]
    images = splits[first]["images"]
    chosen = [images[place] for place in rng.permutation(len(images))[: 3 * count]]
    used = [entry["id"] for coco in splits.values() for part in coco.values() for entry in part]
    ids = iter(range(max(used) + 1, max(used) + 1 + 2 * len(used)))
    faults = []
    for image in chosen[:count]:
        own = [cell for cell in splits[first]["annotations"] if cell["image_id"] == image["id"]]
        keep = rng.permutation(len(own))[: rng.integers(FEW[0], FEW[1] + 1)]
        left = {own[place]["id"] for place in keep}
        splits[first]["annotations"] = [
            cell
            for cell in splits[first]["annotations"]
            if cell["image_id"] != image["id"] or cell["id"] in left
        ]
        faults.append(_image_fault("few annotated", first, image))
    for image in chosen[count : 2 * count]:
        faults.append(
            _image_fault("duplicate image", first, _copy(splits[first], image, first, splits, ids))
        )
    for image in chosen[2 * count :]:
        faults.append(
            _image_fault(
                "overlap of splits", second, _copy(splits[first], image, second, splits, ids)
            )
        )
    return faults


def _copy(source, image, target, splits, ids):
    """List an image and its cells once more in split ``target``, with new ids."""
    again = image | {"id": next(ids)}
    cells = [
        cell | {"id": next(ids), "image_id": again["id"]}
        for cell in source["annotations"]
        if cell["image_id"] == image["id"]
    ]
    splits[target]["images"].append(again)
    splits[target]["annotations"] += cells
    return again


def _image_fault(kind, split, image):
    return {"kind": kind, "split": split, "file_name": image["file_name"], "image_id": image["id"]}
