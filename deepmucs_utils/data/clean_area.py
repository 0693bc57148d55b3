"""Structure outside the annotations: what is not plain camera noise.

LIVECell is flat, so between the cells the standard deviation in a small window is that of the
camera's noise. Where it is higher there is debris, a bubble or a cell without annotation.
"""

import cv2
import numpy as np

MASK_MARGIN = 8  # px around masks that belong to the cells
WINDOW = 9  # px, side of the window of the local standard deviation
STRUCTURE = 1.45  # times the noise's standard deviation, above which a window holds structure
QUANTILE = 0.2  # of the local standard deviation that is the noise's: structure does not reach it
REDUCTION = 4  # times, of the image that the background level is computed on
LEVEL_SIGMA = 24.0  # px, scale of the background level


def _local_deviation(residual):
    """Standard deviation in a window around each pixel, grey levels; float32, the same shape."""
    mean = cv2.blur(residual, (WINDOW, WINDOW))
    square = cv2.blur(residual * residual, (WINDOW, WINDOW))
    return np.sqrt(np.maximum(square - mean * mean, 0))


def background_level(image, clean) -> np.ndarray:
    """Smooth grey level of the clean pixels, continued across the holes (normalised Gaussian).

    Computed on an image reduced by `REDUCTION`, which is much finer than `LEVEL_SIGMA`.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)
    clean : ndarray of bool, shape (height, width)

    Returns
    -------
    ndarray of float32, shape (height, width)
    """
    height, width = image.shape
    small = (max(width // REDUCTION, 1), max(height // REDUCTION, 1))
    planes = (clean.astype(np.float32), np.where(clean, image, 0).astype(np.float32))
    planes = (cv2.resize(plane, small, interpolation=cv2.INTER_AREA) for plane in planes)
    weight, total = (cv2.GaussianBlur(plane, (0, 0), LEVEL_SIGMA / REDUCTION) for plane in planes)
    fallback = float(np.median(image[clean]) if clean.any() else np.median(image))
    level = np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), fallback)
    return cv2.resize(level.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)


def near_cells(mask):
    """Pixels of a mask and within `MASK_MARGIN` px of it; bool, the mask's shape."""
    size = 2 * MASK_MARGIN + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return cv2.dilate(mask.astype(np.uint8), disc) > 0


def find_structure(image, mask) -> tuple[np.ndarray, float]:
    """Pixels outside a mask that are not plain noise.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)
    mask : ndarray of bool, shape (height, width)
        All annotated cells.

    Returns
    -------
    structure : ndarray of bool, shape (height, width)
        Where the local standard deviation exceeds `STRUCTURE` times the noise's.
    noise : float
        The noise's standard deviation, grey levels.
    """
    outside = ~near_cells(mask)
    deviation = _local_deviation(image - background_level(image, outside))
    noise = float(np.quantile(deviation[outside] if outside.any() else deviation, QUANTILE))
    return (deviation > STRUCTURE * noise) & outside, noise
