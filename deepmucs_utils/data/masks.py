"""Masks of an image's annotations: polygons rasterised by COCO's rule and painted together."""

from dataclasses import dataclass

import numpy as np
from hotcoco import mask as rle
from pycocotools import mask as coco_mask

DOUBLE = 0.5  # intersection over union from which two contours are of the same cell


def compressed(code):
    """A run-length code as JSON holds it, in the form that pycocotools reads: counts in bytes."""
    return code | {"counts": code["counts"].encode()}


def rasterise(polygon, box):
    """Rasterise a polygon inside a box, by COCO's rule.

    Parameters
    ----------
    polygon : list of array_like
        Parts ``[x0, y0, x1, y1, …]`` in image coordinates, px.
    box : tuple of int
        ``(y0, x0, y1, x1)``, half open, px.

    Returns
    -------
    ndarray of bool, shape (y1 - y0, x1 - x0)
    """
    y0, x0, y1, x1 = box
    height, width = y1 - y0, x1 - x0
    parts = [(np.reshape(part, (-1, 2)) - (x0, y0)).ravel().tolist() for part in polygon]
    parts = [part for part in parts if len(part) >= 6]
    if not parts or height < 1 or width < 1:
        return np.zeros((max(height, 0), max(width, 0)), bool)
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(parts, height, width))) > 0


def decode(segmentation, shape):
    """The mask of a COCO segmentation, by COCO's rule.

    Parameters
    ----------
    segmentation : dict or list
        Run lengths, compressed or not, or polygons ``[[x0, y0, x1, y1, …], …]``, px.
    shape : tuple of int
        Height and width of the image, px.

    Returns
    -------
    ndarray of bool, shape ``shape``
    """
    if isinstance(segmentation, list):
        parts = [part for part in segmentation if len(part) >= 6]
        if not parts:
            return np.zeros(shape, bool)
        segmentation = rle.merge(rle.frPyObjects(parts, *shape))
    return np.asarray(rle.decode(segmentation)) > 0


def decode_masks(segmentations, shape):
    """The masks of several COCO segmentations of one image.

    Parameters
    ----------
    segmentations : list
        As `decode` takes them.
    shape : tuple of int
        Height and width of the image, px.

    Returns
    -------
    ndarray of bool, shape (n, height, width)
    """
    masks = [decode(segmentation, shape) for segmentation in segmentations]
    return np.stack(masks) if masks else np.zeros((0, *shape), bool)


def run_lengths(window, mask, shape):
    """COCO's run lengths of a mask inside a window of an image.

    Parameters
    ----------
    window : tuple of slice
        Rows and columns of the window.
    mask : ndarray of bool, shape (h, w)
    shape : tuple of int
        Height and width of the image, px.

    Returns
    -------
    list of int
        Lengths of runs outside and inside in turn, column by column.
    """
    height, width = shape
    h = mask.shape[0] + 2
    columns = np.zeros((mask.shape[1], h), bool)  # an empty pixel above and below each column
    columns[:, 1:-1] = mask.T
    flat = columns.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1])  # starts and ends in turn
    bounds = (window[1].start + edges // h) * height + window[0].start + edges % h
    if mask.shape[0] == height:  # a run may go on from one column's foot to the next one's top
        apart = bounds[2::2] != bounds[1:-1:2]
        bounds = bounds[np.concatenate([[True], np.repeat(apart, 2), [True]])[: len(bounds)]]
    bounds = np.concatenate([[0], bounds, [height * width]])
    lengths = (bounds[1:] - bounds[:-1]).tolist()
    return lengths if lengths[-1] else lengths[:-1]


@dataclass(frozen=True)
class Scene:
    """The masks of one image, painted together.

    Parameters
    ----------
    owner : ndarray of int32, shape (height, width)
        Row of the image's index whose mask covers the pixel, -1 where none does.
    count : ndarray of uint8, shape (height, width)
        Number of masks that cover the pixel.
    masks : list of (tuple, ndarray of bool)
        For each row its box ``(y0, x0, y1, x1)`` and its mask inside the box.
    double : ndarray of bool, shape (rows,)
        Second contours of a cell that an earlier row has already; they are not painted.
    """

    owner: np.ndarray
    count: np.ndarray
    masks: list
    double: np.ndarray

    @property
    def mask(self):
        """All annotated pixels; bool, shape (height, width)."""
        return self.owner >= 0


def paint(polygons, height, width):
    """Paint polygons of one image into a `Scene`; later ones lie above earlier ones."""
    owner = np.full((height, width), -1, np.int32)
    count = np.zeros((height, width), np.uint8)
    masks, double = [], np.zeros(len(polygons), bool)
    for row, polygon in enumerate(polygons):
        points = np.concatenate([np.reshape(part, (-1, 2)) for part in polygon])
        x0, y0 = np.floor(points.min(0)).astype(int).clip(0)
        x1, y1 = np.ceil(points.max(0)).astype(int) + 1
        box = (min(y0, height), min(x0, width), min(y1, height), min(x1, width))
        mask = rasterise(polygon, box)
        masks.append((box, mask))
        window = np.s_[box[0] : box[2], box[1] : box[3]]
        below = owner[window][mask]
        for other, shared in zip(*np.unique(below[below >= 0], return_counts=True), strict=True):
            union = mask.sum() + masks[other][1].sum() - shared
            double[row] |= shared > DOUBLE * union
        if not double[row]:
            owner[window][mask] = row
            count[window] += mask
    return Scene(owner, count, masks, double)
