"""Noise artefacts: debris, dust and out-of-focus specks away from cells (paper, section II).

Clearing an image removes them with the cells; a background without any would be too clean. They are
cut out like cells and pasted back at the rate at which they were found, from one pool over all
cultures, so that debris does not reveal a culture.
"""

import cv2
import numpy as np

from deepmucs_utils.data.clean_area import background_level, find_structure
from deepmucs_utils.generation.cells import MARGIN, Cutout, distance_to, make_matte

DISTANCE = 12.0  # px from any mask, so that no part of a cell is taken for debris
SIGNIFICANT = 4.0  # times the noise's standard deviation
LEAST_AREA = 4  # px²
MOST_AREA = 150  # px²; anything larger may be an unannotated cell
MOST_EXTENT = 32  # px, side of the surrounding region of structure


def find_artefacts(image: np.ndarray, mask: np.ndarray):
    """Cut the artefacts out of an image.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)
    mask : ndarray of bool, shape (height, width)
        All annotated cells.

    Returns
    -------
    artefacts : list of Cutout
    searched : int
        Area that was searched, px².
    """
    height, width = image.shape
    structure, noise = find_structure(image, mask)
    away = distance_to(mask)
    residual = image - background_level(image, (away > DISTANCE) & ~structure)
    smooth = cv2.GaussianBlur(residual, (3, 3), 0.7)
    count, regions, stats, _ = cv2.connectedComponentsWithStats(structure.astype(np.uint8))
    found = []
    for region in range(1, count):
        x, y, w, h, _ = stats[region]
        top, left, bottom, right = y - MARGIN, x - MARGIN, y + h + MARGIN, x + w + MARGIN
        if max(w, h) > MOST_EXTENT or min(top, left) < 0 or bottom > height or right > width:
            continue
        window = np.s_[top:bottom, left:right]
        inside = regions[window] == region
        speck = inside & (np.abs(smooth[window]) > SIGNIFICANT * noise)
        if not LEAST_AREA <= speck.sum() <= MOST_AREA or away[window][inside].min() < DISTANCE:
            continue
        pixels, structured = image[window].copy(), structure[window]
        level = float(np.median(image) if structured.all() else pixels[~structured].mean())
        matte = make_matte(speck, structured & ~inside)
        found.append(Cutout(pixels, speck.astype(np.uint8), matte, level, int(top), int(left)))
    return found, int((away > DISTANCE).sum())
