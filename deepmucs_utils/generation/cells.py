"""Cells cut out of an image, each with its mask and matte (paper, section II and Fig. 1).

A mask says which pixels are the cell; a matte says how much of each pixel is pasted. The bright rim
of phase contrast lies inside LIVECell's masks and has faded 2 to 4 px outside them, so the matte
keeps full weight to `PLATEAU` px outside the mask and falls to nothing at `REACH` px.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from deepmucs_utils.data.masks import Scene

PLATEAU = 3.0  # px outside the mask with full weight
REACH = 5.0  # px outside the mask where the matte ends
MARGIN = 6  # px around the mask's box that a cutout keeps
CLEARANCE = 3.0  # px to the next mask beyond which a boundary pixel counts as free
LEAST_FREE = 0.75  # share of its boundary that a donor has free
LEAST_AREA = 30  # px²; smaller masks are fragments of annotation
MOST_COVERED = 0.1  # share of a donor that other masks may claim as well
LEAST_RING = 20  # px; with a ring of fewer the level is the median of the image
SYMMETRIES = 8  # of the square: four quarter turns, and the same after a mirror image
WEIGHT = (np.arange(256) / np.float32(255)).astype(np.float32)  # of a matte stored in 8 bits


@dataclass(frozen=True)
class Cutout:
    """A cell, or a group of touching cells, with its surroundings.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (h, w)
        The donor image around the cells.
    labels : ndarray of uint8, shape (h, w)
        0 outside, 1 in the first cell, 2 in the second, …
    matte : ndarray of float32, shape (h, w)
        Weight of each pixel, in [0, 1].
    level : float
        Grey level of the free ring around the cells.
    top, left : int
        Row and column of the upper left corner in the donor image, px.
    free : float
        Share of the outline that is free of other cells.
    """

    pixels: np.ndarray
    labels: np.ndarray
    matte: np.ndarray
    level: float
    top: int
    left: int
    free: float = 1.0

    @property
    def mask(self) -> np.ndarray:
        """Pixels of all its cells; bool, shape (h, w)."""
        return self.labels > 0


def distance_to(region: np.ndarray) -> np.ndarray:
    """Distance of every pixel to a region of True, px; float32, very far where there is none."""
    return cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, 5)


def boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask that have one of their eight neighbours outside it."""
    return mask & ~(cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0)


def window(outer, inner, top, left) -> tuple:
    """Where a smaller array overlaps a larger one.

    Parameters
    ----------
    outer, inner : tuple of int
        Heights and widths, px.
    top, left : int
        Corner of the smaller array in the larger one; may be negative.

    Returns
    -------
    here, part : tuple of slice
        The same pixels in the larger and in the smaller array.
    """
    (height, width), (h, w) = outer, inner
    if 0 <= top <= height - h and 0 <= left <= width - w:
        return np.s_[top : top + h, left : left + w], np.s_[:, :]
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + h, height), min(left + w, width)
    return np.s_[y0:y1, x0:x1], np.s_[y0 - top : y1 - top, x0 - left : x1 - left]


def make_matte(mask: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """Weight of each pixel when a cell is pasted, in [0, 1].

    Full to `PLATEAU` px outside the mask, linear to zero at `REACH` px, and zero wherever a pixel
    belongs to a neighbour or is nearer to one than to the cell.

    Parameters
    ----------
    mask, neighbours : ndarray of bool, shape (h, w)

    Returns
    -------
    ndarray of float32, shape (h, w)
    """
    away = distance_to(mask)
    matte = np.clip((REACH - away) / (REACH - PLATEAU), 0, 1)
    matte[distance_to(neighbours) <= away] = 0
    return matte


def free_boundary(mask: np.ndarray, neighbours: np.ndarray) -> float:
    """Share of a mask's boundary pixels that are more than `CLEARANCE` px from the next mask."""
    return float((distance_to(neighbours)[boundary(mask)] > CLEARANCE).mean())


def fault(scene: Scene, row: int, area_range=None) -> str:
    """Why a cell cannot be a donor, neither alone nor in a group.

    Parameters
    ----------
    scene : Scene
    row : int
        Which cell of the scene.
    area_range : tuple of float, optional
        Smallest and largest plausible area of the culture, px².

    Returns
    -------
    str
        ``""`` for a sound cell.
    """
    (y0, x0, y1, x1), mask = scene.masks[row]
    area = np.count_nonzero(mask)
    if area < LEAST_AREA:
        return "too small"
    if scene.double[row]:
        return "double contour"
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    height, width = scene.owner.shape
    if 0 in (y0 + y, x0 + x) or y0 + y + h == height or x0 + x + w == width:
        return "cut by the border"
    if area_range is not None and not area_range[0] <= area <= area_range[1]:
        return "area outside the culture's range"
    if (scene.count[y0:y1, x0:x1][mask] > 1).mean() > MOST_COVERED:
        return "overlapped"
    return ""


def cut(image: np.ndarray, scene: Scene, rows) -> Cutout:
    """Cut cells out of their image as one piece.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)
    scene : Scene
    rows : sequence of int
        Cells of the scene, at most 255.

    Returns
    -------
    Cutout
    """
    boxes = np.array([scene.masks[row][0] for row in rows])
    corner = boxes[:, :2].min(0) - MARGIN
    here, _ = window(image.shape, boxes[:, 2:].max(0) + MARGIN - corner, *corner)
    top, left = (int(side.start) for side in here)
    pixels, owner = image[here].copy(), scene.owner[here]
    labels = np.zeros(owner.shape, np.uint8)
    if len(rows) == 1:  # alone, a cell keeps pixels that a neighbour claims as well
        (y0, x0, y1, x1), mask = scene.masks[rows[0]]
        labels[y0 - top : y1 - top, x0 - left : x1 - left] = mask
    else:
        for number, row in enumerate(rows, 1):
            labels[owner == row] = number
    mask = labels > 0
    neighbours = (owner >= 0) & ~np.isin(owner, rows) & ~mask
    matte = make_matte(mask, neighbours)
    ring = (matte == 0) & (distance_to(neighbours) > CLEARANCE)
    level = pixels[ring].mean() if np.count_nonzero(ring) >= LEAST_RING else np.median(image)
    free = free_boundary(mask, neighbours)
    return Cutout(pixels, labels, matte, float(level), top, left, free)


def extract(image: np.ndarray, scene: Scene, row: int, area_range=None):
    """Cut one cell out of its image, or say why it cannot be a donor on its own.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)
    scene : Scene
    row : int
        Which cell of the scene.
    area_range : tuple of float, optional
        Smallest and largest plausible area of the culture, px².

    Returns
    -------
    cutout : Cutout or None
        None when the cell is excluded.
    reason : str
        Why it is excluded, or ``""``.
    """
    reason = fault(scene, row, area_range)
    if reason:
        return None, reason
    cutout = cut(image, scene, [row])
    if cutout.free < LEAST_FREE:
        return None, "too few free edges"
    return cutout, ""


def edge_profile(cutouts, reach: int = 8):
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
        Mean over cells, grey levels; only pixels in the matte or in the free surroundings.
    """
    distance = np.arange(-reach, reach + 1)
    profiles = np.full((len(cutouts), len(distance)), np.nan)
    for row, cutout in enumerate(cutouts):
        outside = distance_to(cutout.mask)
        signed = np.rint(outside - np.where(cutout.mask, distance_to(~cutout.mask) - 1, 0))
        taken = (cutout.matte > 0) | (outside > REACH)
        for column, step in enumerate(distance):
            ring = taken & (signed == step)
            if ring.any():
                profiles[row, column] = cutout.pixels[ring].mean() - cutout.level
    return distance, np.nanmean(profiles, axis=0)
