"""Masks in COCO's forms: polygons and run lengths, rasterised by one rule and painted together.

A *segmentation* is a list of polygons ``[x0, y0, x1, y1, …]`` (px), or run lengths ``{"size":
[height, width], "counts": …}``, compressed or not. Polygons are filled by COCO's rule everywhere.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hotcoco import mask as rle

DOUBLE = 0.5  # intersection over union from which two contours are of the same cell


def segmentations(cells):
    """The segmentations of some rows of an index (see `livecell.read_index`), in a list."""
    columns = (cells[name].tolist() for name in ("height", "width", "rle", "polygon"))
    return [
        {"size": [height, width], "counts": code} if isinstance(code, str) else polygon
        for height, width, code, polygon in zip(*columns, strict=True)
    ]


def rasterise(polygon, box):
    """Rasterise a polygon inside a box.

    Parameters
    ----------
    polygon : list of array_like
        Parts ``[x0, y0, x1, y1, …]`` in image coordinates, px; parts of fewer than three points
        are left out.
    box : tuple of int
        ``(y0, x0, y1, x1)``, half open, px.

    Returns
    -------
    ndarray of bool, shape (y1 - y0, x1 - x0)
    """
    y0, x0, y1, x1 = box
    shape = max(y1 - y0, 0), max(x1 - x0, 0)
    parts = [(points - (x0, y0)).ravel().tolist() for points in _points(polygon)]
    if not parts or 0 in shape:
        return np.zeros(shape, bool)
    return rle.decode(rle.merge(rle.frPyObjects(parts, *shape))) > 0


def _points(polygon):
    """The parts of a polygon that have an area, as points (x, y); ndarrays of shape (n, 2)."""
    parts = [np.reshape(part[: len(part) // 2 * 2], (-1, 2)) for part in polygon]
    return [part for part in parts if len(part) >= 3]


def decode(segmentation, shape):
    """The mask of a segmentation.

    Parameters
    ----------
    segmentation : dict or list
    shape : tuple of int
        Height and width of the image, px.

    Returns
    -------
    ndarray of bool, shape ``shape``
    """
    if isinstance(segmentation, dict):
        return rle.decode(segmentation) > 0
    return rasterise(segmentation, (0, 0, *shape))


def decode_masks(segmentations, shape):
    """The masks of several segmentations of one image.

    Parameters
    ----------
    segmentations : list of dict or list
    shape : tuple of int
        Height and width of the image, px.

    Returns
    -------
    ndarray of bool, shape (n, height, width)
    """
    return np.array([decode(one, shape) for one in segmentations], bool).reshape(-1, *shape)


def encode(window, mask, shape):
    """The run lengths of a mask inside a window of an image.

    Parameters
    ----------
    window : tuple of slice
        Rows and columns of the window.
    mask : ndarray of bool, shape of the window
    shape : tuple of int
        Height and width of the image, px.

    Returns
    -------
    dict
        ``size`` and compressed ``counts`` (bytes).
    """
    return encode_windows([[part.start for part in window]], mask[None], shape)[0]


def encode_windows(corners, masks, shape):
    """The run lengths of several masks, each inside a window of its own, of one size for all.

    Time and memory grow with the windows, not with the image.

    Parameters
    ----------
    corners : array_like of int, shape (n, 2)
        First row and column of each window, px.
    masks : ndarray of bool, shape (n, h, w)
        A window may reach beyond the image's last rows and columns where its mask is empty.
    shape : tuple of int
        Height and width of the image, px.

    Returns
    -------
    list of dict
        ``size`` and compressed ``counts`` (bytes).
    """
    corners, pixels = np.asarray(corners, np.int64).reshape(-1, 2), shape[0] * shape[1]
    columns = np.pad(masks.transpose(0, 2, 1).astype(bool), ((0, 0), (0, 0), (1, 1)))
    one, column, row = np.nonzero(columns[..., 1:] != columns[..., :-1])  # starts and ends of runs
    top, left = corners[one].T
    place = one * (pixels + 1) + (left + column) * shape[0] + top + row
    goes_on = np.flatnonzero(place[1:] == place[:-1])  # from a column's foot to the next one's head
    place = np.delete(place, [goes_on, goes_on + 1])
    first = np.arange(len(masks)) * (pixels + 1)
    place = np.sort(np.concatenate([first, place, first + pixels]), kind="stable")
    runs, bounds = np.diff(place).tolist(), [*np.searchsorted(place, first).tolist(), len(place)]
    size = [int(side) for side in shape]
    counts = (runs[begin : end - 1] for begin, end in pairwise(bounds))
    codes = [{"size": size, "counts": own if own[-1] else own[:-1]} for own in counts]
    return rle.frPyObjects(codes, *size) if codes else []


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
        Second contours of a cell that an earlier row has already (their intersection over union
        exceeds `DOUBLE`); they are not painted.
    """

    owner: np.ndarray
    count: np.ndarray
    masks: list[tuple[tuple[int, int, int, int], np.ndarray]]
    double: np.ndarray

    @property
    def mask(self):
        """All annotated pixels; bool, shape (height, width)."""
        return self.owner >= 0


def paint(segmentations, height, width) -> "Scene":
    """Paint the segmentations of one image, later ones above earlier ones.

    Parameters
    ----------
    segmentations : list of dict or list
    height, width : int
        Of the image, px.

    Returns
    -------
    Scene
    """
    owner = np.full((height, width), -1, np.int32)
    count = np.zeros((height, width), np.uint8)
    masks, double = [], np.zeros(len(segmentations), bool)
    for row, segmentation in enumerate(segmentations):
        box, mask = _boxed(segmentation, height, width)
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


def _boxed(segmentation, height, width):
    """Box of a segmentation, inside the image, and the mask in it."""
    if isinstance(segmentation, dict):
        x, y, w, h = np.asarray(rle.to_bbox(segmentation)).ravel().astype(int).tolist()
        return (y, x, y + h, x + w), decode(segmentation, (height, width))[y : y + h, x : x + w]
    points = np.concatenate([*_points(segmentation), np.zeros((0, 2))])
    if not len(points):
        return (0, 0, 0, 0), np.zeros((0, 0), bool)
    x0, y0 = np.floor(points.min(0)).astype(int).clip(0)
    x1, y1 = np.ceil(points.max(0)).astype(int) + 1
    box = (min(y0, height), min(x0, width), min(y1, height), min(x1, width))
    return box, rasterise(segmentation, box)
