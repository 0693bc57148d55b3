"""Phase-contrast image of a phase object, as LIVECell's instrument records it.

Cells are transparent: they delay light by a phase φ (radians), thickness times the difference of
refractive indices. A phase-contrast microscope lets the direct light pass a ring that turns it by a
quarter wave, so that thicker parts look darker. The ring also passes some diffracted light, whose
spread surrounds every cell with a bright halo. The wave in the image is

    u − K∗u + ζ·exp(−iπ/2)·K∗u,    u = exp(iφ),

with K the spread function of the ring and ζ² its transmission (Zernike 1942; Yin, Kanade and Chen,
"Understanding the phase contrast optics to restore artifact-free microscopy images for
segmentation", Medical Image Analysis 16 (2012) 1047, equations 1 to 9, where K is an Airy pattern;
here K is a Gaussian, its main lobe). LIVECell's images have then been flattened: a local mean is
subtracted, so that inside and outside of a cell have the same mean grey level.
"""

import cv2
import numpy as np

GREY = 128.0  # LIVECell's background, grey levels
TRANSMISSION = 0.5  # ζ, amplitude that the ring passes
GAIN = 100.0  # grey levels per unit of relative contrast
HALO = 1.2  # px, standard deviation of K
BLUR = 0.42  # px, standard deviation of the objective's spread
FLATTEN = 12.0  # px, standard deviation of the local mean


def phase_contrast(phase):
    """Image of a phase object in positive phase contrast.

    Parameters
    ----------
    phase : ndarray of float32, shape (height, width)
        φ, radians.

    Returns
    -------
    ndarray of float32, shape (height, width)
        Grey levels relative to the background, flattened; no noise.
    """
    real, imaginary = np.cos(phase), np.sin(phase)
    direct_real, direct_imaginary = blur(real, HALO), blur(imaginary, HALO)
    real += TRANSMISSION * direct_imaginary - direct_real
    imaginary -= TRANSMISSION * direct_real + direct_imaginary
    intensity = real**2 + imaginary**2
    contrast = blur(intensity / TRANSMISSION**2 - 1, BLUR)
    return GAIN * (contrast - blur(contrast, FLATTEN))


def camera_noise(shape, deviation, along_x, along_y, rng):
    """Camera noise with different correlations along rows and columns.

    Parameters
    ----------
    shape : tuple of int
    deviation : float
        Standard deviation, grey levels.
    along_x, along_y : float
        Autocorrelation at lag 1, in [0, 0.65].
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32, shape ``shape``
        Grey levels.
    """
    white = rng.standard_normal(shape, np.float32)
    return deviation * cv2.sepFilter2D(white, cv2.CV_32F, _kernel(along_x), _kernel(along_y))


def _kernel(correlation):
    """Three taps ``(a, 1, a)`` of unit energy with that autocorrelation at lag 1."""
    correlation, side = min(correlation, 0.65), 0.0  # three taps reach at most 0.7
    if correlation > 0:
        side = (1 - np.sqrt(1 - 2 * correlation**2)) / (2 * correlation)
    kernel = np.array([side, 1, side])
    return kernel / np.sqrt((kernel**2).sum())


def blur(image, deviation):
    """Gaussian blur of a float32 image; ``deviation`` in px."""
    return cv2.GaussianBlur(image, (0, 0), deviation)
