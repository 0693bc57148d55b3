"""The canvas that cells are pasted on, and the sprites that are pasted.

With matte weight w a pixel becomes ``level + (w · cell + (1 − w) · ground) / √(w² + (1 − w)²)``,
where cell and ground are deviations from their levels: a plain mean of two independent noises would
lose variance at the seam. Everything stays in floating point and is rounded once, at the very end.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from deepmucs_utils.generation.bank import WEIGHT

SYMMETRIES = 8  # of the square: four quarter turns, and the same after a mirror image
BLENDS = ("matte", "hard")

_QUARTERS = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
_NORM = np.sqrt(WEIGHT**2 + (1 - WEIGHT) ** 2)
_OWN, _GROUND = WEIGHT / _NORM, (1 - WEIGHT) / _NORM  # by stored weight, 0 to 255


@dataclass(frozen=True)
class Sprite:
    """A cutout after a symmetry, ready to be pasted.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (h, w)
    labels : ndarray of uint8, shape (h, w)
        0 outside, n in the n-th cell.
    weights : ndarray of uint8, shape (h, w)
        Matte times 255.
    level : float
        Grey level of the donor's surroundings.
    centres : ndarray of float, shape (cells, 2)
        Row and column of each cell's centre, px.
    areas : ndarray of int, shape (cells,)
        px².
    """

    pixels: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    level: float
    centres: np.ndarray
    areas: np.ndarray

    @cached_property
    def mask(self):
        """Its cells' pixels, as 0 and 255; uint8, shape (h, w)."""
        return cv2.compare(self.labels, 0, cv2.CMP_GT)

    @cached_property
    def added(self):
        """What the whole matte adds to the ground, grey levels; float32, shape (h, w)."""
        return self.own(self.weights, np.s_[:, :])

    @cached_property
    def ground(self):
        """What the whole matte leaves of the ground, a share; float32, shape (h, w)."""
        return cv2.LUT(self.weights, _GROUND)

    def own(self, weights, part):
        """What some weights (× 255) of a part of it add to the ground, grey levels."""
        return cv2.LUT(weights, _OWN) * cv2.add(self.pixels[part], -self.level, dtype=cv2.CV_32F)

    @property
    def area(self):
        """Area of all its cells, px²."""
        return int(self.areas.sum())


def make_sprite(arrays, centres, areas, symmetry=0):
    """Turn a cutout.

    Parameters
    ----------
    arrays : tuple
        Pixels, labels, matte × 255 (uint8, shape (h, w)) and level; see `Bank.arrays`.
    centres : ndarray of float, shape (cells, 2)
        Row and column of each cell's centre, px.
    areas : ndarray of int, shape (cells,)
        px².
    symmetry : int
        ``symmetry % 4`` quarter turns, after a mirror image when it is 4 or more. Exact.

    Returns
    -------
    Sprite
    """
    *planes, level = arrays
    (height, width), (y, x) = planes[0].shape, np.transpose(centres)
    if symmetry >= SYMMETRIES // 2:
        planes = [cv2.flip(plane, 1) for plane in planes]
        x = width - 1 - x
    quarters = symmetry % 4
    if quarters:
        planes = [cv2.rotate(plane, _QUARTERS[quarters]) for plane in planes]
        bottom, right = height - 1, width - 1
        y, x = ((right - x, y), (bottom - y, right - x), (x, bottom - y))[quarters - 1]
    return Sprite(*planes, level, np.stack([y, x], axis=1), np.asarray(areas))


def window(outer, inner, top, left):
    """Where a sprite meets the canvas.

    Parameters
    ----------
    outer, inner : tuple of int
        Heights and widths of canvas and sprite, px.
    top, left : int
        The sprite's corner on the canvas; may be negative.

    Returns
    -------
    here, part : tuple of slice
        The same pixels on the canvas and in the sprite.
    """
    height, width = outer
    h, w = inner
    if top >= 0 and left >= 0 and top + h <= height and left + w <= width:
        return np.s_[top : top + h, left : left + w], np.s_[:, :]
    y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + h, height), min(left + w, width)
    return np.s_[y0:y1, x0:x1], np.s_[y0 - top : y1 - top, x0 - left : x1 - left]


class Canvas:
    """An image in the making.

    Parameters
    ----------
    background : ndarray of uint8, shape (height, width)
    level : float
        The background's grey level.

    Attributes
    ----------
    owner : ndarray of int16, shape (height, width)
        Number of the cell that is visible at each pixel, -1 for none.
    """

    def __init__(self, background, level):
        self.deviation = cv2.add(background, -level, dtype=cv2.CV_32F)
        self.level = level
        self.owner = np.full(background.shape, -1, np.int16)
        self._occupied = np.zeros(background.shape, np.uint8)
        self._windows = []

    def add(self, sprite, top, left, blend="matte"):
        """Paste a piece and record its cells' masks above those that are there.

        Parameters
        ----------
        sprite : Sprite
        top, left : int
        blend : {"matte", "hard"}

        Returns
        -------
        range
            Numbers of its cells.
        """
        here, part = window(self.owner.shape, sprite.mask.shape, top, left)
        mask, labels = sprite.mask[part], sprite.labels[part]
        self.paste(sprite, top, left, blend)
        first = len(self._windows)
        np.copyto(self.owner[here], labels.astype(np.int16) + (first - 1), where=mask > 0)
        self._occupied[here] |= mask
        self._windows += [here] * len(sprite.areas)
        return range(first, len(self._windows))

    def paste(self, sprite, top, left, blend="matte"):
        """Paste pixels alone; where another cell lies, only through the mask."""
        here, part = window(self.owner.shape, sprite.labels.shape, top, left)
        ground, occupied = self.deviation[here], self._occupied[here]
        if blend == "hard":
            weights = sprite.mask[part]
        elif cv2.countNonZero(occupied):
            aside = (occupied > 0) & (sprite.mask[part] == 0)
            weights = np.where(aside, 0, sprite.weights[part]).astype(np.uint8)
        else:
            ground *= sprite.ground[part]
            ground += sprite.added[part]
            return
        ground *= cv2.LUT(weights, _GROUND)
        ground += sprite.own(weights, part)

    def visible(self, number):
        """Window and mask of what is visible of a cell."""
        here = self._windows[number]
        return here, self.owner[here] == number

    def image(self):
        """The finished image, rounded once; uint8, shape (height, width)."""
        return cv2.add(self.deviation, self.level, dtype=cv2.CV_8U)
