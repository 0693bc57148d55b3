"""Faults of LIVECell's annotations, put into the phantom on purpose and listed.

LIVECell has cells without annotation, cells with two contours, images with only a few cells
annotated, images with two ids, and images in two splits (issues 21, 26 and 30 of
sartorius-research/LIVECell). The phantom has the first two at a low rate, so that a search for
faults has something to find, and the others on request. Its ``faults.json`` lists all of them.
"""

import numpy as np

UNANNOTATED = 0.01  # share of cells without annotation
DOUBLE = 0.002  # share of cells with a second contour
FEW = (1, 9)  # cells that stay annotated in an image with few annotations
FEW_ANNOTATED = "few annotated"
#: Faults of whole images of the train split: kind, and the split that lists the image again.
OF_IMAGES = {FEW_ANNOTATED: None, "duplicate image": "train", "overlap of splits": "val"}


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


def keep_few(polygons, rng):
    """Leave all cells of an image but a `FEW` unannotated.

    Parameters
    ----------
    polygons : list of ndarray of float, shape (n, 2)
    rng : numpy.random.Generator

    Returns
    -------
    list of ndarray of float, shape (n, 2)
    """
    number = rng.integers(FEW[0], FEW[1] + 1)
    return [polygons[index] for index in rng.permutation(len(polygons))[:number]]


def choose_images(names, count, rng):
    """Choose the images that get a fault of whole images.

    Parameters
    ----------
    names : list of str
        Of the images of the train split.
    count : int
        Images with each kind of fault.
    rng : numpy.random.Generator

    Returns
    -------
    dict of str to str
        Kind of fault (of `OF_IMAGES`) by image.
    """
    chosen = rng.permutation(names)[: count * len(OF_IMAGES)].tolist()
    return dict(zip(chosen, list(OF_IMAGES) * count, strict=True))
