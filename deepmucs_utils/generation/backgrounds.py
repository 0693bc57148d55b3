"""Images cleared into backgrounds (paper, section II: "initially filtering out the cells").

LIVECell is flat: between the cells there is only camera noise around one grey level. So a hole is
not interpolated from its rim, which would smear the bright halo inwards. It is rebuilt as level
plus noise from clean parts of the same image, in the same orientation (the noise is anisotropic).
The masks and measured structure say what to clear, since many images hold unannotated cells.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from deepmucs_utils.data.clean_area import background_level, find_structure, near_cells

SEAM = 4.0  # px over which the image fades into the texture
TILES = (48, 32, 24, 16)  # px, sides of the texture's tiles, the largest possible first
OVERLAP = 4  # px over which a tile fades into the next
LEAST_PLACES = 400  # clean positions that a size of tiles needs
LEAST_CLEAN = 0.1  # share of an image that must be clean


@dataclass(frozen=True)
class Clearing:
    """A cleared image and how it was cleared.

    Parameters
    ----------
    background : ndarray of uint8, shape (height, width), or None
        None when the clean area is too small to take texture from.
    clean : ndarray of bool, shape (height, width)
        Pixels left unchanged.
    residual : ndarray of float32, shape (height, width)
        Image minus background level.
    noise : float
        Standard deviation of the clean pixels, grey levels.
    reason : str
        Why there is no background, or ``""``.
    """

    background: np.ndarray | None
    clean: np.ndarray
    residual: np.ndarray
    noise: float
    reason: str = ""


def clear(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Clearing:
    """Remove the cells from an image, and everything else that is not background.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)
    mask : ndarray of bool, shape (height, width)
        All annotated cells.
    rng : numpy.random.Generator
        Draws the texture.

    Returns
    -------
    Clearing
    """
    structure, _ = find_structure(image, mask)
    hole = near_cells(mask)
    hole |= cv2.dilate(structure.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    clean = ~hole
    level = background_level(image, clean)
    residual = image - level
    noise = float(residual[clean].std()) if clean.any() else np.nan
    if clean.mean() < LEAST_CLEAN:
        return Clearing(None, clean, residual, noise, f"only {clean.mean():.1%} of it clean")
    texture = synthesise_texture(residual, clean, rng)
    if texture is None:
        return Clearing(None, clean, residual, noise, "no clean patches to take texture from")
    weight = np.clip(ndimage.distance_transform_edt(clean) / SEAM, 0, 1)
    filled = level + mix(residual, texture, weight)
    return Clearing(np.rint(filled).clip(0, 255).astype(np.uint8), clean, residual, noise)


def mix(first, second, weight):
    """Mix two independent noises without losing variance.

    A plain weighted mean of two noises of equal variance has variance w² + (1 − w)² times theirs;
    dividing by the root of that restores it.

    Parameters
    ----------
    first, second : ndarray of float
        Deviations from the level.
    weight : ndarray of float
        Weight of ``first``, in [0, 1].

    Returns
    -------
    ndarray of float
    """
    return (weight * first + (1 - weight) * second) / np.sqrt(weight**2 + (1 - weight) ** 2)


def synthesise_texture(residual, clean, rng) -> np.ndarray | None:
    """Noise like that of the clean pixels, for a whole image.

    Tiles from clean places are laid side by side and overlap by `OVERLAP` px. The squares of their
    weights sum to one there, which keeps the variance; elsewhere every pixel is a real one. Tiles
    are never rotated, which keeps the anisotropy.

    Parameters
    ----------
    residual : ndarray of float32, shape (height, width)
    clean : ndarray of bool, shape (height, width)
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32, shape (height, width), or None
        None when even the smallest tile fits into the clean area too rarely.
    """
    height, width = residual.shape
    integral = cv2.integral(clean.astype(np.uint8))
    for side in TILES:
        below = integral[side:] - integral[:-side]
        places = np.argwhere(below[:, side:] - below[:, :-side] == side * side)
        if len(places) >= LEAST_PLACES:
            break
    else:
        return None
    step = side - OVERLAP
    fade = (np.arange(OVERLAP) + 0.5) / OVERLAP * np.pi / 2
    ramp = np.concatenate([np.sin(fade), np.ones(side - 2 * OVERLAP), np.cos(fade)])
    window = np.outer(ramp, ramp).astype(np.float32)
    rows, columns = -(-(height + OVERLAP) // step), -(-(width + OVERLAP) // step)
    texture = np.zeros((rows * step + OVERLAP, columns * step + OVERLAP), np.float32)
    chosen = places[rng.integers(len(places), size=rows * columns)]
    for number, (top, left) in enumerate(chosen.tolist()):
        y, x = number // columns * step, number % columns * step
        tile = residual[top : top + side, left : left + side]
        texture[y : y + side, x : x + side] += window * tile
    return texture[OVERLAP : OVERLAP + height, OVERLAP : OVERLAP + width]
