"""Where the cells of an image go.

``clustered`` follows the real cultures: some pieces found a colony, and the others lie as far from
a cell as the nearest neighbours in real images of the culture do.
``uniform`` scatters the pieces. ``interacting`` scatters them too, but draws some pairs of cultures
together or keeps them apart: a known truth for the analysis of interactions.
"""

from itertools import count, islice
from math import cos, pi, sin

import cv2
import numpy as np

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.bank import QUANTILES
from deepmucs_utils.generation.canvas import window

PLACEMENTS = ("clustered", "uniform", "interacting")
LEAST_INSIDE = 0.25  # share of a cell that the canvas' edge must leave
MOST_HIDDEN = 0.1  # share of a cell that may overlap with others
RARELY_HIDDEN = 0.2  # the same for one cell in twenty, and where there is no room
RARE = 0.05
TRIES = 200  # places tried before every place is looked at
FOUNDERS = 0.4  # share of pieces that found a colony: colonies a cell in sparse real images
STEPS = 5  # places tried along one direction from a neighbour
STEP = 0.2  # by how much further off each of them is
CHOICES = 16  # places that interactions choose from
RANGE = 60.0  # px, centre to centre, within which cells of two cultures interact


class Layout:
    """Which pixels of an image are taken, before anything is pasted.

    Which of two overlapping cells lies above is decided later, so their overlap counts against
    both: whatever the order, no cell ends with less than it is allowed to lose.

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

    def fits(self, sprite, top, left, most_hidden):
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
        mask = sprite.mask[part]
        if mask.shape != sprite.mask.shape:
            if mask.size == 0:
                return False
            inside = np.bincount(sprite.labels[part].ravel(), minlength=len(sprite.areas) + 1)[1:]
            if (inside < LEAST_INSIDE * sprite.areas).any():
                return False
        shared = cv2.bitwise_and(self._occupied[here], mask)
        overlap = cv2.countNonZero(shared)
        if overlap == 0:
            return True
        if overlap > most_hidden * sprite.area:
            return False
        shared = shared > 0
        own = np.bincount(sprite.labels[part][shared], minlength=len(sprite.areas) + 1)[1:]
        if (own > most_hidden * sprite.areas).any():
            return False
        return all(
            self._lost[cell] + number <= most_hidden * self._areas[cell]
            for cell, number in self._claimed(here, shared)
        )

    def _claimed(self, here, shared):
        """Cells that some pixels of a window belong to, and how many of each."""
        counts = np.bincount(self._claims[here][shared])
        cells = np.flatnonzero(counts)
        return zip((cells - 1).tolist(), counts[cells].tolist(), strict=True)

    def put(self, sprite, top, left):
        """Take the pixels of a piece."""
        here, part = window(self.shape, sprite.mask.shape, top, left)
        mask, labels = sprite.mask[part], sprite.labels[part]
        shared = cv2.bitwise_and(self._occupied[here], mask) > 0
        first = len(self._areas)
        self._areas += sprite.areas.tolist()
        self._lost += np.bincount(labels[shared], minlength=len(sprite.areas) + 1)[1:].tolist()
        for cell, number in self._claimed(here, shared):
            self._lost[cell] += number
        fresh = (mask > 0) & ~shared
        np.copyto(self._claims[here], labels.astype(np.int16) + first, where=fresh)
        self._occupied[here] |= mask

    def overlaps(self, sprite):
        """Number of taken pixels under a piece for every place wholly inside the image.

        Returns
        -------
        ndarray of float32, shape (height - h + 1, width - w + 1)
        """
        occupied = (self._occupied > 0).astype(np.float32)
        return cv2.matchTemplate(occupied, (sprite.mask > 0).astype(np.float32), cv2.TM_CCORR)


class Places:
    """Draws places for the pieces of one image.

    Parameters
    ----------
    layout : Layout
    rng : numpy.random.Generator
    kind : {"clustered", "uniform", "interacting"}
    spacing : dict of str to list of float
        By culture, quantiles of the distance to the nearest neighbour, px; see `Bank`.
    interactions : dict of (str, str) to float, optional
        For a pair of cultures, the logarithm of how much more often a place within `RANGE` of the
        other culture is taken than one beyond; negative keeps them apart.
    """

    def __init__(self, layout, rng, kind, spacing, interactions=None):
        self._layout, self._rng, self._kind, self._spacing = layout, rng, kind, spacing
        pairs = interactions or {}
        self._pull = dict(pairs) | {(b, a): pull for (a, b), pull in pairs.items()}
        self._centres, self._cultures = [], []

    def draw(self, sprite, culture):
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
        most_hidden = RARELY_HIDDEN if self._rng.random() < RARE else MOST_HIDDEN
        propose = getattr(self, f"_{self._kind}")
        for top, left in islice(propose(sprite, culture), TRIES):
            if self._layout.fits(sprite, top, left, most_hidden):
                return self._keep(sprite, culture, top, left)
        return self._keep(sprite, culture, *self._anywhere(sprite))

    def _keep(self, sprite, culture, top, left):
        self._layout.put(sprite, top, left)
        self._centres += (sprite.centres + (top, left)).tolist()
        self._cultures += [culture] * len(sprite.centres)
        return top, left

    def _uniform(self, sprite, culture):
        height, width = self._layout.shape
        h, w = sprite.mask.shape
        while True:
            y, x = self._rng.random(2)
            yield int(y * height) - h // 2, int(x * width) - w // 2

    def _clustered(self, sprite, culture):
        spacing = self._spacing.get(culture)
        if not self._centres or spacing is None or self._rng.random() < FOUNDERS:
            yield from self._uniform(sprite, culture)
        height, width = self._layout.shape
        while True:
            anchor = self._centres[self._rng.integers(len(self._centres))]
            own = sprite.centres[self._rng.integers(len(sprite.centres))]
            share, turn = self._rng.random(2).tolist()
            distance = np.interp(share, QUANTILES, spacing)
            direction = (sin(2 * pi * turn), cos(2 * pi * turn))
            for step in range(STEPS):
                far = distance * (1 + STEP * step)
                y, x = anchor[0] + far * direction[0], anchor[1] + far * direction[1]
                if 0 <= y < height and 0 <= x < width:
                    yield round(y - own[0]), round(x - own[1])

    def _interacting(self, sprite, culture):
        pulls = {other: pull for (one, other), pull in self._pull.items() if one == culture}
        partners = [i for i, other in enumerate(self._cultures) if other in pulls]
        uniform = self._uniform(sprite, culture)
        if not partners:
            yield from uniform
        centres = np.array([self._centres[i] for i in partners])
        strength = np.array([pulls[self._cultures[i]] for i in partners])
        names = np.array([self._cultures[i] for i in partners])
        for _ in count():
            places = np.array(list(islice(uniform, CHOICES)))
            middle = places + sprite.centres.mean(0)
            near = np.hypot(*(middle[:, None] - centres[None]).transpose(2, 0, 1)) < RANGE
            logs = np.zeros(CHOICES)
            for other in pulls:
                of = names == other
                logs += np.where(near[:, of].any(1), strength[of][0] if of.any() else 0, 0)
            weights = np.exp(logs - logs.max())
            choice = self._rng.choice(CHOICES, p=weights / weights.sum())
            yield int(places[choice, 0]), int(places[choice, 1])

    def _anywhere(self, sprite):
        """A place with the least overlap, found by looking at all of them."""
        h, w = sprite.mask.shape
        height, width = self._layout.shape
        if h <= height and w <= width:
            overlaps = np.rint(self._layout.overlaps(sprite))
            for least in np.unique(overlaps)[:5]:
                places = np.argwhere(overlaps == least)
                for top, left in self._rng.permutation(places)[:20].tolist():
                    if self._layout.fits(sprite, top, left, RARELY_HIDDEN):
                        return top, left
        raise DeepMuCSError(
            f"a piece of {h} × {w} px found no place on a canvas of {height} × {width} px that "
            f"holds {len(self._centres)} cells; take more images or fewer cells."
        )
