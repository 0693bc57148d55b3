"""Cells cut out of an image, each with its mask and matte (paper, section II and Fig. 1).

A mask says which pixels are the cell; a matte says how much of each pixel is taken along. The
bright rim of phase contrast lies inside LIVECell's masks and has faded 2 to 4 px outside them, so
the matte keeps full weight to `PLATEAU` px outside the mask and falls to nothing at `REACH` px.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco_mask

PLATEAU = 3.0  # px outside the mask with full weight
REACH = 5.0  # px outside the mask where the matte ends
MARGIN = 6  # px around the mask's box that a cutout keeps
LEAST_AREA = 30  # px²; smaller masks are fragments of annotation
LEAST_FREE = 0.75  # share of its boundary that a single donor has free
CLEARANCE = 3.0  # px to the next mask from which a boundary pixel counts as free


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
    if not parts:
        return np.zeros((height, width), bool)
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(parts, height, width))) > 0


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
    """

    owner: np.ndarray
    count: np.ndarray
    masks: list


def paint(polygons, height, width):
    """Paint polygons of one image into a `Scene`; later ones lie above earlier ones."""
    owner = np.full((height, width), -1, np.int32)
    count = np.zeros((height, width), np.uint8)
    masks = []
    for row, polygon in enumerate(polygons):
        points = np.concatenate([np.reshape(part, (-1, 2)) for part in polygon])
        x0, y0 = np.floor(points.min(0)).astype(int).clip(0)
        x1, y1 = np.ceil(points.max(0)).astype(int) + 1
        box = (min(y0, height), min(x0, width), min(y1, height), min(x1, width))
        mask = rasterise(polygon, box)
        window = np.s_[box[0] : box[2], box[1] : box[3]]
        owner[window][mask] = row
        count[window] += mask
        masks.append((box, mask))
    return Scene(owner, count, masks)


def make_matte(mask, neighbours):
    """Weight of each pixel when a cell is pasted, in [0, 1].

    Full to `PLATEAU` px outside the mask, linear to zero at `REACH` px, and zero wherever a pixel
    belongs to a neighbour or lies nearer to one than to the cell.

    Parameters
    ----------
    mask, neighbours : ndarray of bool, shape (h, w)

    Returns
    -------
    ndarray of float32, shape (h, w)
    """
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    matte = np.clip((REACH - away) / (REACH - PLATEAU), 0, 1)
    if neighbours.any():
        matte[_distance(neighbours) <= away] = 0
        matte[neighbours & ~mask] = 0
    return matte


def free_boundary(mask, neighbours):
    """Share of a mask's boundary pixels with more than `CLEARANCE` px to the next mask."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
    boundary = mask & ~inner
    if not neighbours.any():
        return 1.0
    return float((_distance(neighbours)[boundary] > CLEARANCE).mean())


def _distance(region):
    return cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, 5)


@dataclass(frozen=True)
class Cutout:
    """One cell with its surroundings.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (h, w)
        The donor image around the cell.
    mask : ndarray of bool, shape (h, w)
    matte : ndarray of float32, shape (h, w)
    level : float
        Grey level of the free ring around the cell, to which the background corresponds.
    """

    pixels: np.ndarray
    mask: np.ndarray
    matte: np.ndarray
    level: float


def extract(image, scene, row):
    """Cut one cell out of its image, or say why it is no donor.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)
    scene : Scene
    row : int
        Which cell of the scene.

    Returns
    -------
    cutout : Cutout or None
        None when the cell is excluded.
    reason : str
        Why it is excluded, or ``""``.
    free : float
        Share of the boundary that is free.
    """
    height, width = image.shape
    (y0, x0, y1, x1), mask = scene.masks[row]
    area = int(mask.sum())
    if area < LEAST_AREA:
        return None, "too small", np.nan
    inside = np.nonzero(mask)
    touches = (
        inside[0].min() + y0 == 0,
        inside[1].min() + x0 == 0,
        inside[0].max() + y0 == height - 1,
        inside[1].max() + x0 == width - 1,
    )
    if any(touches):
        return None, "cut by the border", np.nan
    if (scene.count[y0:y1, x0:x1][mask] > 1).mean() > 0.1:
        return None, "overlapped", np.nan

    top, left = max(y0 - MARGIN, 0), max(x0 - MARGIN, 0)
    bottom, right = min(y1 + MARGIN, height), min(x1 + MARGIN, width)
    padded = np.zeros((bottom - top, right - left), bool)
    padded[y0 - top : y1 - top, x0 - left : x1 - left] = mask
    owner = scene.owner[top:bottom, left:right]
    neighbours = (owner >= 0) & (owner != row) & ~padded
    free = free_boundary(padded, neighbours)
    if free < LEAST_FREE:
        return None, "too few free edges", free

    pixels = image[top:bottom, left:right]
    matte = make_matte(padded, neighbours)
    ring = (matte == 0) & ~neighbours
    if neighbours.any():
        ring &= _distance(neighbours) > CLEARANCE
    level = float(pixels[ring].mean()) if ring.sum() >= 20 else float(np.median(image))
    return Cutout(pixels.copy(), padded, matte, level), "", free


def edge_profile(cutouts, reach=8):
    """Grey level by distance from the mask's edge, relative to the surroundings.

    Parameters
    ----------
    cutouts : sequence of Cutout
    reach : int
        Distances from ``-reach`` (inside) to ``reach`` (outside), px.

    Returns
    -------
    distance : ndarray of int, shape (2 * reach + 1,)
    mean : ndarray of float, same shape
        Mean over cells, grey levels; only pixels that the matte takes, or free surroundings.
    """
    distance = np.arange(-reach, reach + 1)
    profiles = np.full((len(cutouts), len(distance)), np.nan)
    for row, cutout in enumerate(cutouts):
        outside = _distance(cutout.mask)
        signed = np.rint(outside - np.where(cutout.mask, _distance(~cutout.mask) - 1, 0))
        taken = (cutout.matte > 0) | (outside > REACH)
        for column, step in enumerate(distance):
            ring = taken & (signed == step)
            if ring.any():
                profiles[row, column] = cutout.pixels[ring].mean() - cutout.level
    return distance, np.nanmean(profiles, axis=0)
