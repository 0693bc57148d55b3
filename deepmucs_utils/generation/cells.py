"""Cells cut out of an image, each with its mask and matte (paper, section II and Fig. 1).

A mask says which pixels are the cell; a matte says how much of each pixel is taken along. The
bright rim of phase contrast lies inside LIVECell's masks and has faded 2 to 4 px outside them, so
the matte keeps full weight to `PLATEAU` px outside the mask and falls to nothing at `REACH` px.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from deepmucs_utils.data.masks import Scene, paint

__all__ = ["Cutout", "Scene", "cut", "edge_profile", "extract", "fault", "make_matte", "paint"]

PLATEAU = 3.0  # px outside the mask with full weight
REACH = 5.0  # px outside the mask where the matte ends
MARGIN = 6  # px around the mask's box that a cutout keeps
LEAST_AREA = 30  # px²; smaller masks are fragments of annotation
LEAST_FREE = 0.75  # share of its boundary that a donor has free
CLEARANCE = 3.0  # px to the next mask from which a boundary pixel counts as free
MOST_COVERED = 0.1  # share of a donor that other masks may claim as well


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
    away = distance_to(mask)
    matte = np.clip((REACH - away) / (REACH - PLATEAU), 0, 1)
    if neighbours.any():
        matte[distance_to(neighbours) <= away] = 0
        matte[neighbours & ~mask] = 0
    return matte


def distance_to(region):
    """Distance of every pixel to a region, px; float32."""
    return cv2.distanceTransform((~region).astype(np.uint8), cv2.DIST_L2, 5)


def boundary(mask):
    """Pixels of a mask that have one of their eight neighbours outside it."""
    return mask & ~(cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0)


def free_boundary(mask, neighbours):
    """Share of a mask's boundary pixels with more than `CLEARANCE` px to the next mask."""
    if not neighbours.any():
        return 1.0
    return float((distance_to(neighbours)[boundary(mask)] > CLEARANCE).mean())


@dataclass(frozen=True)
class Cutout:
    """A cell, or a group of touching cells, with its surroundings.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (h, w)
        The donor image around the cells.
    labels : ndarray of uint8 or bool, shape (h, w)
        0 outside, 1 in the first cell, 2 in the second, …
    matte : ndarray of float32, shape (h, w)
        Weight of each pixel, in [0, 1].
    level : float
        Grey level of the free ring around, to which the background corresponds.
    """

    pixels: np.ndarray
    labels: np.ndarray
    matte: np.ndarray
    level: float

    @property
    def mask(self):
        """Pixels of all its cells; bool, shape (h, w)."""
        return self.labels > 0


def fault(scene, row, area_range=None):
    """Why a cell can't be a donor, neither alone nor in a group.

    Parameters
    ----------
    scene : Scene
    row : int
    area_range : tuple of float, optional
        Smallest and largest plausible area of the culture, px².

    Returns
    -------
    str
        ``""`` when nothing is wrong with it.
    """
    height, width = scene.owner.shape
    (y0, x0, y1, x1), mask = scene.masks[row]
    area = np.count_nonzero(mask)
    if area < LEAST_AREA:
        return "too small"
    if scene.double[row]:
        return "double contour"
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if (
        y0 + rows[0] == 0
        or x0 + columns[0] == 0
        or y0 + rows[-1] == height - 1
        or x0 + columns[-1] == width - 1
    ):
        return "cut by the border"
    if area_range is not None and not area_range[0] <= area <= area_range[1]:
        return "area outside the culture's range"
    if (scene.count[y0:y1, x0:x1][mask] > 1).mean() > MOST_COVERED:
        return "overlapped"
    return ""


def cut(image, scene, rows):
    """Cut cells out of their image as one piece.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)
    scene : Scene
    rows : sequence of int
        Cells of the scene, at most 255.

    Returns
    -------
    cutout : Cutout
    corner : tuple of int
        Row and column of its upper left corner in the image.
    free : float
        Share of the piece's boundary that is free of other cells.
    """
    height, width = image.shape
    boxes = np.array([scene.masks[row][0] for row in rows])
    top, left = np.maximum(boxes[:, :2].min(0) - MARGIN, 0)
    bottom, right = np.minimum(boxes[:, 2:].max(0) + MARGIN, (height, width))
    window = np.s_[top:bottom, left:right]
    owner = scene.owner[window]
    labels = np.zeros(owner.shape, np.uint8)
    for number, row in enumerate(rows, 1):
        if len(rows) == 1:  # alone, a cell keeps pixels that a neighbour claims as well
            (y0, x0, y1, x1), mask = scene.masks[row]
            labels[y0 - top : y1 - top, x0 - left : x1 - left] = mask
        else:
            labels[owner == row] = number
    mask = labels > 0
    neighbours = (owner >= 0) & ~np.isin(owner, rows) & ~mask
    matte = make_matte(mask, neighbours)
    ring = (matte == 0) & ~neighbours
    if neighbours.any():
        ring &= distance_to(neighbours) > CLEARANCE
    pixels = image[window]
    level = float(pixels[ring].mean()) if ring.sum() >= 20 else float(np.median(image))
    cutout = Cutout(pixels.copy(), labels, matte, level)
    return cutout, (int(top), int(left)), free_boundary(mask, neighbours)


def extract(image, scene, row, area_range=None):
    """Cut one cell out of its image, or say why it is no single donor.

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
    free : float
        Share of the boundary that is free.
    """
    reason = fault(scene, row, area_range)
    if reason:
        return None, reason, np.nan
    cutout, _, free = cut(image, scene, [row])
    if free < LEAST_FREE:
        return None, "too few free edges", free
    return cutout, "", free


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
        outside = distance_to(cutout.mask)
        signed = np.rint(outside - np.where(cutout.mask, distance_to(~cutout.mask) - 1, 0))
        taken = (cutout.matte > 0) | (outside > REACH)
        for column, step in enumerate(distance):
            ring = taken & (signed == step)
            if ring.any():
                profiles[row, column] = cutout.pixels[ring].mean() - cutout.level
    return distance, np.nanmean(profiles, axis=0)


def rim_and_roundness(cutout):
    """How strong a cell's rim is, and how round the cell.

    Parameters
    ----------
    cutout : Cutout

    Returns
    -------
    rim : float
        Mean of the mask's outermost two pixels above the surroundings, grey levels.
    roundness : float
        4π area / perimeter², 1 for a disc; the smallest of the piece's cells is not told apart.
    """
    mask = cutout.mask
    edge = mask & (distance_to(~mask) <= 2.5)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    perimeter = sum(cv2.arcLength(contour, True) for contour in contours)
    area = sum(cv2.contourArea(contour) for contour in contours)
    rim = float(cutout.pixels[edge].mean() - cutout.level)
    return rim, float(min(4 * np.pi * area / max(perimeter, 1) ** 2, 1))
