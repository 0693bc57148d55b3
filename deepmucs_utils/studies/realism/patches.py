"""Real and synthetic patches of the same image, for a classifier to distinguish.

Two places could give a composite away: the area where cells were cleared, and the ring around a
pasted cell. Beside our way each probe holds the naive one (Telea inpainting, hard paste), which has
to be detected; otherwise the classifier has no power.
"""

from itertools import islice

import cv2
import numpy as np

from deepmucs_utils.generation.backgrounds import Clearing
from deepmucs_utils.generation.canvas import Canvas, Sprite
from deepmucs_utils.generation.cells import PLATEAU, SYMMETRIES, distance_to, extract

SIDE = 24  # px, side of a patch
ALTERED = 0.8  # least share of a patch that was cleared
RING = (0.5, 8.5)  # px outside the mask: the distances 1 to 8
SURROUNDINGS = 20  # px around a cell's box that a probe looks at
NEIGHBOUR = 4.0  # px around other masks that count as theirs
LEAST_RING = 80  # valid pixels that a ring patch must have
PER_RING = 4  # patches taken of a ring
SPECK = 5.0  # times the noise, beyond the matte: debris, which real edges have and which is no seam


def inpaint(image, mask) -> np.ndarray:
    """The naive background: Telea's inpainting of the masks alone; uint8, like ``image``."""
    return cv2.inpaint(image, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA)


def cleared_patches(image, mask, clearing: Clearing, rng, number=60):
    """Patches of clean and of cleared areas.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)
    mask : ndarray of bool, shape (height, width)
        All annotated cells.
    clearing : Clearing
        Of the image, with a background.
    rng : numpy.random.Generator
    number : int
        Patches of each kind, at most.

    Returns
    -------
    dict of str to ndarray of float32, shape (n, 1, SIDE, SIDE)
        ``real``, ``ours`` and ``naive``, minus the image's clean level.
    """
    level = np.float32(image[clearing.clean].mean())
    sources = {
        "real": (image, clearing.clean, 1.0),
        "ours": (clearing.background, ~clearing.clean, ALTERED),
        "naive": (inpaint(image, mask), mask, ALTERED),
    }
    found = {}
    for way, (pixels, region, share) in sources.items():
        places = _places(region, share, rng, number)
        patches = [pixels[None, y : y + SIDE, x : x + SIDE] - level for y, x in places]
        found[way] = np.array(patches, np.float32).reshape(-1, 1, SIDE, SIDE)
    return found


def _places(region, share, rng, number):
    """Corners of windows of which at least ``share`` lies in a region."""
    inside = cv2.boxFilter(region.astype(np.float32), -1, (SIDE, SIDE), anchor=(0, 0))
    inside = inside[: region.shape[0] - SIDE + 1, : region.shape[1] - SIDE + 1]
    places = np.argwhere(inside >= share - 1e-4)
    return places[rng.permutation(len(places))[:number]]


def cell_rings(image, scene, clearing: Clearing, rng, number=24):
    """Surroundings of free-standing cells, in their image and pasted on its cleared background.

    Parameters
    ----------
    image, clearing, rng
        See `cleared_patches`.
    scene : Scene
        The image's cells.
    number : int
        Cells at most.

    Returns
    -------
    dict of str to list of Ring
        ``real``, ``ours`` and ``naive``; the same cells in each.
    """
    grounds = {
        "ours": (clearing.background, "matte"),
        "naive": (inpaint(image, scene.mask), "hard"),
    }
    level = float(clearing.background.mean())
    rings = {"real": [], "ours": [], "naive": []}
    for row in rng.permutation(len(scene.masks)):
        cutout = extract(image, scene, row)[0]
        if cutout is None:
            continue
        here, mask, valid = _surroundings(scene, row)
        rings["real"].append(Ring(image[here], mask, valid, cutout.level, clearing.noise))
        weights = np.zeros(image.shape, np.uint8)
        (height, width), (top, left) = cutout.matte.shape, (cutout.top, cutout.left)
        weights[top : top + height, left : left + width] = np.rint(255 * cutout.matte)
        one, symmetry = (np.zeros((1, 2)), np.ones(1, int)), int(rng.integers(SYMMETRIES))
        labels, free = mask.astype(np.uint8), valid.astype(np.uint8)
        sprite = Sprite(image[here], labels, weights[here], cutout.level, *one).turned(symmetry)
        valid = Sprite(free, free, free, 0.0, *one).turned(symmetry).mask > 0
        for way, (ground, blend) in grounds.items():
            canvas = Canvas(_window(ground, valid.shape, rng), level)
            canvas.add(sprite, 0, 0, blend)
            ring = Ring(canvas.image(), sprite.mask > 0, valid, level, clearing.noise)
            rings[way].append(ring)
        if len(rings["real"]) == number:
            break
    return rings


def _window(ground, shape, rng):
    """A random window of an image; its edge repeated where the image is smaller."""
    missing = [max(n - m, 0) for n, m in zip(shape, ground.shape, strict=True)]
    ground = np.pad(ground, [(0, n) for n in missing], mode="reflect")
    y, x = (int(rng.integers(m - n + 1)) for n, m in zip(shape, ground.shape, strict=True))
    return ground[y : y + shape[0], x : x + shape[1]]


def _surroundings(scene, row):
    """Window around a cell, its mask there, and the pixels that belong to no other cell."""
    height, width = scene.owner.shape
    (y0, x0, y1, x1), mask = scene.masks[row]
    top, left = max(y0 - SURROUNDINGS, 0), max(x0 - SURROUNDINGS, 0)
    here = np.s_[top : min(y1 + SURROUNDINGS, height), left : min(x1 + SURROUNDINGS, width)]
    owner = scene.owner[here]
    own = np.zeros(owner.shape, bool)
    own[y0 - top : y1 - top, x0 - left : x1 - left] = mask
    others = (owner >= 0) & (owner != row) & ~own
    away = distance_to(others) if others.any() else np.full(owner.shape, np.inf)
    return here, own, (away > NEIGHBOUR) & (away > distance_to(own))


class Ring:
    """The free ring around one cell.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (h, w)
    mask, valid : ndarray of bool, shape (h, w)
        The cell, and the pixels that no other cell claims.
    level, noise : float
        Grey level of the surroundings, and standard deviation of the camera's noise.

    Attributes
    ----------
    deviation : ndarray of float32, shape (h, w)
        Pixels minus level.
    distance : ndarray of float32, shape (h, w)
        To the mask, px.
    valid : ndarray of bool, shape (h, w)
        Pixels of the ring.
    """

    def __init__(self, pixels, mask, valid, level, noise):
        self.deviation = pixels.astype(np.float32) - level
        self.distance = distance_to(mask)
        speck = (np.abs(self.deviation) > SPECK * noise) & (self.distance > PLATEAU)
        if speck.any():
            valid = valid & (distance_to(speck) > 3)
        self.valid = valid & (self.distance > RING[0]) & (self.distance <= RING[1])

    def patches(self, rng, number=PER_RING):
        """Square patches on the ring; further channels say which pixels are valid and how far
        from the cell they are.

        Returns
        -------
        ndarray of float32, shape (number or 0, 3, SIDE, SIDE)
            Deviation, validity (0 or 1), distance (px); all 0 off the ring. None of a ring that
            is too short.
        """
        half = SIDE // 2
        planes = np.array([self.deviation, self.valid, self.distance], np.float32) * self.valid
        planes = np.pad(planes, ((0, 0), (half, half), (half, half)))
        middle = np.argwhere(self.valid & (np.abs(self.distance - 4.5) <= 0.75))
        places = rng.permutation(np.tile(middle, (number, 1)))
        windows = (planes[:, y : y + SIDE, x : x + SIDE] for y, x in places)
        found = list(islice((one for one in windows if one[1].sum() >= LEAST_RING), number))
        found = found if len(found) == number else []
        return np.array(found, np.float32).reshape(-1, 3, SIDE, SIDE)
