"""The canvas that cells are pasted on, and the sprites that are pasted.

With matte weight w a pixel becomes ``level + (w · cell + (1 − w) · ground) / √(w² + (1 − w)²)``,
where cell and ground are deviations from their levels: a plain mean of two independent noises would
lose variance at the seam. Everything stays in floating point and is rounded once, at the very end.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from deepmucs_utils.generation.cells import SYMMETRIES, WEIGHT, window

BLENDS = ("matte", "hard")

_QUARTERS = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
_NORM = np.sqrt(WEIGHT**2 + (1 - WEIGHT) ** 2)
_CELL, _GROUND = WEIGHT / _NORM, (1 - WEIGHT) / _NORM  # by stored weight, 0 to 255


@dataclass(frozen=True)
class Sprite:
    """A cutout ready to be pasted; see `Bank.sprite`.

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
    def mask(self) -> np.ndarray:
        """Its cells' pixels, as 0 and 255; uint8, shape (h, w)."""
        return cv2.compare(self.labels, 0, cv2.CMP_GT)

    @property
    def area(self) -> int:
        """Area of all its cells, px²."""
        return int(self.areas.sum())

    def turned(self, symmetry: int) -> "Sprite":
        """The sprite after one of the eight symmetries of the square, which are exact.

        Parameters
        ----------
        symmetry : int
            ``symmetry % 4`` quarter turns, after a mirror image when it is 4 or more.

        Returns
        -------
        Sprite
        """
        if symmetry == 0:
            return self
        planes = [self.pixels, self.labels, self.weights]
        (height, width), (y, x) = self.pixels.shape, self.centres.T
        if symmetry >= SYMMETRIES // 2:
            planes = [cv2.flip(plane, 1) for plane in planes]
            x = width - 1 - x
        quarters = symmetry % 4
        if quarters:
            planes = [cv2.rotate(plane, _QUARTERS[quarters]) for plane in planes]
            bottom, right = height - 1, width - 1
            y, x = ((right - x, y), (bottom - y, right - x), (x, bottom - y))[quarters - 1]
        return Sprite(*planes, self.level, np.stack([y, x], axis=1), self.areas)


class Canvas:
    """An image that is being composed.

    Parameters
    ----------
    background : ndarray of uint8, shape (height, width)
    level : float
        The background's grey level.

    Attributes
    ----------
    deviation : ndarray of float32, shape (height, width)
        The image minus its level.
    owner : ndarray of int16, shape (height, width)
        Number of the cell that is visible at each pixel, -1 for none.
    """

    def __init__(self, background: np.ndarray, level: float):
        self.deviation = cv2.add(background, -level, dtype=cv2.CV_32F)
        self.level = level
        self.owner = np.full(background.shape, -1, np.int16)
        self._occupied = np.zeros(background.shape, np.uint8)
        self._windows = []

    def add(self, sprite: Sprite, top: int, left: int, blend: str = "matte"):
        """Paste a piece and record its cells' masks above those that are there.

        Parameters
        ----------
        sprite : Sprite
        top, left : int
            Corner of the sprite on the canvas, px; may be negative.
        blend : {"matte", "hard"}
            Whether pixels are weighted by the matte or by the mask alone.
        """
        self.paste(sprite, top, left, blend)
        here, part = window(self.owner.shape, sprite.mask.shape, top, left)
        mask, labels = sprite.mask[part], sprite.labels[part].astype(np.int16)
        np.copyto(self.owner[here], labels + (len(self._windows) - 1), where=mask > 0)
        self._occupied[here] |= mask
        self._windows += [here] * len(sprite.areas)

    def paste(self, sprite: Sprite, top: int, left: int, blend: str = "matte"):
        """Paste pixels alone; where another cell lies, only through the mask."""
        here, part = window(self.owner.shape, sprite.pixels.shape, top, left)
        occupied = self._occupied[here]
        weights = sprite.mask[part] if blend == "hard" else sprite.weights[part]
        if cv2.countNonZero(occupied):
            weights = np.where((occupied > 0) & (sprite.mask[part] == 0), np.uint8(0), weights)
        cell = cv2.add(sprite.pixels[part], -sprite.level, dtype=cv2.CV_32F)
        ground = self.deviation[here]
        ground *= cv2.LUT(weights, _GROUND)
        ground += cv2.LUT(weights, _CELL) * cell

    def visible(self, number: int):
        """Window and mask of what is visible of a cell."""
        here = self._windows[number]
        return here, self.owner[here] == number

    def image(self) -> np.ndarray:
        """The finished image, rounded once; uint8, shape (height, width)."""
        return cv2.add(self.deviation, self.level, dtype=cv2.CV_8U)
