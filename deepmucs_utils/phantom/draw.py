"""One image of the phantom: cells laid out, imaged, annotated."""

import cv2
import numpy as np

from deepmucs_utils.phantom.layout import annotate, arrange
from deepmucs_utils.phantom.optics import GREY, camera_noise, phase_contrast
from deepmucs_utils.phantom.phase import add_debris, cell_phase

SIZE = (520, 704)  # LIVECell's images, px
LEAST_AREA = 40  # px²; smaller remainders are not annotated


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
        Of the place on the plate: equal for all images of it, whatever their time.
    rng : numpy.random.Generator
        Of this image.

    Returns
    -------
    image : ndarray of uint8, shape (height, width)
    polygons : list of ndarray of float, shape (n, 2)
        Outline ``(x, y)`` of each cell, px.
    """
    low, high = culture.cover
    cover = min(density * (low + (high - low) * time), 0.95)
    layout = arrange(culture, cover, time, size, place)
    phase = cell_phase(culture, layout, rng)
    specks = culture.specks * size[0] * size[1] / (SIZE[0] * SIZE[1])
    add_debris(phase, layout.label, rng.poisson(specks), rng)
    grey = GREY + phase_contrast(phase) + camera_noise(size, *culture.noise, rng)
    cells = enumerate(zip(layout.windows(), layout.states, strict=True), 1)
    polygons = [
        annotate(layout.label, number, window, culture.states[state].hand, rng)
        for number, (window, state) in cells
        if window is not None
    ]
    polygons = [
        part
        for part in polygons
        if part is not None and cv2.contourArea(part.astype(np.float32)) >= LEAST_AREA
    ]
    return np.rint(grey).clip(0, 255).astype(np.uint8), polygons
