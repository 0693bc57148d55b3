"""Round cells small enough to check by eye."""

import numpy as np

from deepmucs_utils.generation.canvas import Canvas, Sprite


def sprite(radius=8, grey=90, margin=6, around=128, reach=0):
    """A round cell of one grey level; its matte is its mask (and ``reach`` px around it)."""
    side = 2 * (radius + margin) + 1
    y, x = np.indices((side, side)) - (radius + margin)
    labels = (y * y + x * x <= radius * radius).astype(np.uint8)
    taken = y * y + x * x <= (radius + reach) ** 2
    pixels = np.where(labels, grey, around).astype(np.uint8)
    matte, middle = taken.astype(np.uint8) * 255, (side - 1) / 2
    centres, areas = np.array([(middle, middle)]), np.array([labels.sum()])
    return Sprite(pixels, labels, matte, 128.0, centres, areas)


def canvas(height=100, width=120):
    return Canvas(np.full((height, width), 130, np.uint8), 130.0)
