"""Round cells small enough to check by eye."""

import numpy as np

from deepmucs_utils.generation.canvas import Canvas, make_sprite


def disc(radius=8, grey=90, margin=6, around=128, reach=0):
    """A round cell of one grey level, as the bank keeps it; its matte is its mask (and ``reach`` px
    around it)."""
    side = 2 * (radius + margin) + 1
    y, x = np.indices((side, side)) - (radius + margin)
    labels = (y * y + x * x <= radius * radius).astype(np.uint8)
    taken = y * y + x * x <= (radius + reach) ** 2
    pixels = np.where(labels, grey, around).astype(np.uint8)
    return pixels, labels, taken.astype(np.uint8) * 255, 128.0


def sprite(symmetry=0, **options):
    arrays = disc(**options)
    middle = (arrays[0].shape[0] - 1) / 2
    return make_sprite(arrays, [(middle, middle)], [int(arrays[1].sum())], symmetry)


def canvas(height=100, width=120):
    return Canvas(np.full((height, width), 130, np.uint8), 130.0)
