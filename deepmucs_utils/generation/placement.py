"""Where the cells of an image go.

``clustered`` follows the real cultures: some pieces found a colony, and each of the others lies as
far from a cell as nearest neighbours do in real images of its culture. ``uniform`` scatters the
pieces. ``interacting`` scatters them too, but draws some pairs of cultures together or keeps them
apart: a known truth for the analysis of interactions.
"""

from itertools import islice
from math import cos, pi, sin

import cv2
import numpy as np

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.canvas import Sprite
from deepmucs_utils.generation.cells import window

PLACEMENTS = ("clustered", "uniform", "interacting")
MOST_HIDDEN = 0.1  # share of a cell that may overlap with others
_RARELY_HIDDEN = 0.2  # the same for one cell in twenty, and where there is no room
_RARE = 0.05
_LEAST_INSIDE = 0.25  # share of a cell that lies inside the canvas
_TRIES = 200  # places tried before every place is examined
_FOUNDERS = 0.4  # share of pieces that found a colony: colonies per cell in sparse real images
_STEPS = 5  # places tried along one direction from a neighbour
_STEP = 0.2  # how much further away each of them is than the one before, in distances
_CHOICES = 16  # places that interactions choose from
RANGE = 60.0  # px, centre to centre, within which cells of two cultures interact


class Layout:
    """Which pixels of an image are taken, before anything is pasted.

    Which of two overlapping cells is on top is decided later, so their overlap counts against both:
    whatever the order, no cell loses more than it may.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image, px.
    """

    def __init__(self, shape):
        self.shape = shape
        self._claims = np.zeros(shape, np.int16)  # 1 + the first cell that took the pixel, or 0
        self._occupied = np.zeros(shape, np.uint8)
        self._areas, self._lost = [], []

    def fits(self, sprite: Sprite, top: int, left: int, most_hidden: float) -> bool:
        """Whether a piece may lie there: enough of each cell inside, not too much overlap.

        Parameters
        ----------
        sprite : Sprite
        top, left : int
            Corner of the sprite, px; may be negative.
        most_hidden : float
            Share of its area that any cell, of the piece or below, may overlap with others.

        Returns
        -------
        bool
        """
        here, part = window(self.shape, sprite.mask.shape, top, left)
        mask, labels = sprite.mask[part], sprite.labels[part]
        if mask.shape != sprite.mask.shape:
            inside = _areas(labels, len(sprite.areas))
            if (inside < _LEAST_INSIDE * sprite.areas).any():
                return False
        shared = cv2.bitwise_and(self._occupied[here], mask)
        overlap = cv2.countNonZero(shared)
        if overlap == 0:
            return True
        if overlap > most_hidden * sprite.area:
            return False
        own = _areas(labels[shared > 0], len(sprite.areas))
        return not (own > most_hidden * sprite.areas).any() and all(
            self._lost[cell] + number <= most_hidden * self._areas[cell]
            for cell, number in self._below(here, shared)
        )

    def _below(self, here, shared):
        """Cells that the pixels in ``shared`` belong to, and how many to each."""
        counts = np.bincount(self._claims[here][shared > 0])
        cells = np.flatnonzero(counts)
        return zip((cells - 1).tolist(), counts[cells].tolist(), strict=True)

    def put(self, sprite: Sprite, top: int, left: int):
        """Take the pixels of a piece."""
        here, part = window(self.shape, sprite.mask.shape, top, left)
        mask, labels = sprite.mask[part], sprite.labels[part]
        shared = cv2.bitwise_and(self._occupied[here], mask)
        for cell, number in self._below(here, shared):
            self._lost[cell] += number
        fresh = (mask > 0) & (shared == 0)
        np.copyto(self._claims[here], labels.astype(np.int16) + len(self._areas), where=fresh)
        self._occupied[here] |= mask
        self._areas += sprite.areas.tolist()
        self._lost += _areas(labels[shared > 0], len(sprite.areas)).tolist()

    def overlaps(self, sprite: Sprite) -> np.ndarray:
        """Number of taken pixels under a piece for every place wholly inside the image.

        Returns
        -------
        ndarray of float32, shape (height - h + 1, width - w + 1)
        """
        occupied = (self._occupied > 0).astype(np.float32)
        return cv2.matchTemplate(occupied, (sprite.mask > 0).astype(np.float32), cv2.TM_CCORR)


def _areas(labels, cells):
    """Number of pixels of each cell."""
    return np.bincount(labels.ravel(), minlength=cells + 1)[1:]


class Places:
    """Draws places for the pieces of one image.

    Parameters
    ----------
    layout : Layout
    rng : numpy.random.Generator
    kind : {"clustered", "uniform", "interacting"}
    spacing : dict of str to list of float
        By culture, evenly spaced quantiles of the distance to the nearest neighbour, px; see
        `Bank`.
    interactions : iterable of (str, str, float)
        Two cultures, and the logarithm of how much more often a place within `RANGE` of the other
        one is taken than one beyond; negative keeps them apart.
    """

    def __init__(self, layout, rng, kind, spacing, interactions=()):
        self._layout, self._rng, self._spacing = layout, rng, spacing
        self._propose = getattr(self, f"_{kind}")
        self._pull = {}
        for one, other, pull in interactions:
            self._pull.setdefault(one, {})[other] = self._pull.setdefault(other, {})[one] = pull
        self._centres, self._cultures = [], []

    def draw(self, sprite: Sprite, culture: str):
        """Draw a place and take it.

        Parameters
        ----------
        sprite : Sprite
        culture : str

        Returns
        -------
        top, left : int
            Corner of the sprite, px; may be negative.

        Raises
        ------
        DeepMuCSError
            If there is no place in the image where the overlap stays allowed.
        """
        most_hidden = _RARELY_HIDDEN if self._rng.random() < _RARE else MOST_HIDDEN
        proposals = islice(self._propose(sprite, culture), _TRIES)
        fitting = (place for place in proposals if self._layout.fits(sprite, *place, most_hidden))
        place = next(fitting, None) or self._anywhere(sprite)
        self._layout.put(sprite, *place)
        self._centres += (sprite.centres + place).tolist()
        self._cultures += [culture] * len(sprite.centres)
        return place

    def _uniform(self, sprite, culture):
        height, width = self._layout.shape
        h, w = sprite.mask.shape
        while True:
            y, x = self._rng.random(2)
            yield int(y * height) - h // 2, int(x * width) - w // 2

    def _clustered(self, sprite, culture):
        spacing = self._spacing.get(culture)
        if not self._centres or spacing is None or self._rng.random() < _FOUNDERS:
            yield from self._uniform(sprite, culture)  # without end
        height, width = self._layout.shape
        shares = np.linspace(0, 1, len(spacing))
        while True:
            anchor = self._centres[self._rng.integers(len(self._centres))]
            own = sprite.centres[self._rng.integers(len(sprite.centres))]
            share, turn = self._rng.random(2).tolist()
            distance = np.interp(share, shares, spacing)
            direction = (sin(2 * pi * turn), cos(2 * pi * turn))
            for step in range(_STEPS):
                far = distance * (1 + _STEP * step)
                y, x = anchor[0] + far * direction[0], anchor[1] + far * direction[1]
                if 0 <= y < height and 0 <= x < width:
                    yield round(y - own[0]), round(x - own[1])

    def _interacting(self, sprite, culture):
        pulls = self._pull.get(culture, {})
        cultures, centres = np.array(self._cultures), np.array(self._centres)
        partners = {other: centres[cultures == other] for other in pulls if other in self._cultures}
        uniform = self._uniform(sprite, culture)
        if not partners:
            yield from uniform  # without end
        while True:
            places = list(islice(uniform, _CHOICES))
            middle = places + sprite.centres.mean(0)
            logs = np.zeros(_CHOICES)
            for other, around in partners.items():
                away = np.hypot(*(middle[:, None] - around).transpose(2, 0, 1))
                logs += np.where((away < RANGE).any(1), pulls[other], 0)
            weights = np.exp(logs - logs.max())
            yield places[self._rng.choice(_CHOICES, p=weights / weights.sum())]

    def _anywhere(self, sprite):
        """A place with the least overlap, found by examining all of them."""
        h, w = sprite.mask.shape
        height, width = self._layout.shape
        if h <= height and w <= width:
            overlaps = np.rint(self._layout.overlaps(sprite))
            for least in np.unique(overlaps)[:5]:
                places = np.argwhere(overlaps == least)
                for top, left in self._rng.permutation(places)[:20].tolist():
                    if self._layout.fits(sprite, top, left, _RARELY_HIDDEN):
                        return top, left
        raise DeepMuCSError(
            f"a piece of {h} × {w} px found no place on a canvas of {height} × {width} px that "
            f"holds {len(self._centres)} cells; take more images or fewer cells."
        )
