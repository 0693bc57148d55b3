"""One image of the phantom."""

import numpy as np

from deepmucs_utils.phantom.annotate import annotate
from deepmucs_utils.phantom.layout import SCALE, arrange
from deepmucs_utils.phantom.optics import GREY, camera_noise, phase_contrast
from deepmucs_utils.phantom.phase import add_debris, cell_phase

CONTRAST = 0.12  # standard deviation, over images, of the logarithm of the contrast
FOCUS = 0.25  # standard deviation of the defocus, over images
SHIFT = 0.08  # px, standard deviation of the ring's misalignment in x and y


def draw_image(culture, time, density, size, place, rng):
    """Draw one image of a culture.

    Parameters
    ----------
    culture : PhantomCulture
    time : float
        From 0, sparse, to 1, confluent.
    density : float
        Factor on the covered area.
    size : tuple of int
        Height and width, px.
    place : numpy.random.Generator
        Seeded by the place in the well: a later time shows the same cells grown, and more.
    rng : numpy.random.Generator
        For all that is of this image only.

    Returns
    -------
    image : ndarray of uint8, shape (height, width)
    polygons : list of ndarray of float, shape (n, 2)
        Outline ``(x, y)`` of each cell, px.
    """
    low, high = culture.cover
    cover = min(density * (low + (high - low) * time), 0.95)
    layout = arrange(culture, cover, time, size, place, rng)
    phase = cell_phase(culture, layout, rng)
    add_debris(phase, culture.debris, rng)
    focus = FOCUS * rng.standard_normal()
    shift = SHIFT * rng.standard_normal(2)
    contrast = phase_contrast(phase, SCALE, culture.halo, focus, shift)
    contrast *= np.exp(CONTRAST * rng.standard_normal())
    grey = GREY + contrast + camera_noise(size, *culture.noise, rng)
    return np.rint(grey).clip(0, 255).astype(np.uint8), annotate(culture, layout, rng)
