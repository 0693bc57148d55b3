"""Phase-contrast image of a phase object, as LIVECell's instrument records it.

Cells are transparent: they delay light by a phase φ (radians), thickness times the difference of
refractive indices. A phase-contrast microscope lets the direct light pass a ring that turns it by a
quarter wave, so that thicker parts look darker. The ring also passes some diffracted light, whose
spread surrounds every cell with a bright halo. The wave in the image is

    u − K∗u + ζ·exp(−iπ/2)·K∗u,    u = exp(iφ),

with K the spread function of the ring and ζ² its transmission (Zernike 1942; Yin, Kanade and Chen,
"Understanding the phase contrast optics to restore artifact-free microscopy images for
segmentation", Medical Image Analysis 16 (2012) 1047, equations 1 to 9, where K is an Airy pattern;
here K is a Gaussian, its main lobe). A little out of focus, light bends towards thick parts, in
proportion to the phase's Laplacian (Teague, J. Opt. Soc. Am. 73 (1983) 1434). The image is formed
on a finer grid than the camera's and integrated over its pixels. LIVECell's images have then been
flattened: a local mean is subtracted, so that inside and outside of a cell have the same mean grey
level.
"""

import cv2
import numpy as np

GREY = 128.0  # LIVECell's background, grey levels
TRANSMISSION = 0.5  # ζ, amplitude that the ring passes
GAIN = 100.0  # grey levels per unit of relative contrast
BLUR = 0.25  # px, standard deviation of the objective's spread
FLATTEN = 12.0  # px, standard deviation of the local mean
DEFOCUS = 0.35  # px², factor of the Laplacian at a focus of 1
STREAK = 0.15  # grey levels, mean over images of the standard deviation of diagonal streaks
DIAGONAL = 0.07  # largest weight of diagonal neighbours in the noise
SHARPENED = 0.05  # weight that the noise takes from the second neighbours


def phase_contrast(phase, scale, halo, focus, shift=(0.0, 0.0)):
    """Image of a phase object in positive phase contrast.

    Parameters
    ----------
    phase : ndarray of float32, shape (scale * height, scale * width)
        φ, radians.
    scale : int
        Pixels of the phase map per pixel of the camera.
    halo : float
        Standard deviation of K, px of the camera.
    focus : float
        Defocus, from −1 to 1.
    shift : tuple of float
        ``x, y`` by which K lies off its centre, px of the camera: a ring that isn't quite aligned
        makes one side of a cell brighter.

    Returns
    -------
    ndarray of float32, shape (height, width)
        Grey levels relative to the background, flattened; no noise.
    """
    real, imaginary = np.cos(phase), np.sin(phase)
    aside = np.float32([[1, 0, scale * shift[0]], [0, 1, scale * shift[1]]])
    direct_real, direct_imaginary = (
        cv2.warpAffine(
            blur(part, halo * scale), aside, phase.shape[::-1], borderMode=cv2.BORDER_REFLECT
        )
        for part in (real, imaginary)
    )
    real += TRANSMISSION * direct_imaginary - direct_real
    imaginary -= TRANSMISSION * direct_real + direct_imaginary
    contrast = (real**2 + imaginary**2) / np.float32(TRANSMISSION**2) - 1
    if focus:
        contrast += np.float32(focus * DEFOCUS * scale**2) * cv2.Laplacian(phase, cv2.CV_32F)
    contrast = blur(contrast, BLUR * scale)
    size = (phase.shape[1] // scale, phase.shape[0] // scale)
    contrast = cv2.resize(contrast, size, interpolation=cv2.INTER_AREA)
    return GAIN * (contrast - blur(contrast, FLATTEN))


def camera_noise(shape, deviation, along_x, along_y, rng):
    """Camera noise with different correlations along rows and columns, and diagonal streaks.

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
    noise = cv2.sepFilter2D(white, cv2.CV_32F, _kernel(along_x), _kernel(along_y))
    turn, side = rng.choice((-1, 1)), rng.uniform(0, DIAGONAL)
    taps = np.diag(np.array([side, 1, side], np.float32))[:, ::turn]
    noise = cv2.filter2D(noise, -1, taps / np.sqrt((taps**2).sum()))
    streak = np.eye(21, dtype=np.float32)[:, ::turn] / np.sqrt(np.float32(21))
    streaks = cv2.filter2D(rng.standard_normal(shape, np.float32), -1, streak)
    share = np.float32(STREAK * rng.exponential() / deviation)
    return deviation * (np.sqrt(max(1 - share**2, 0)) * noise + share * streaks)


def _kernel(correlation):
    """Five taps of unit energy with that autocorrelation at lag 1 and a negative one at lag 2."""
    correlation, side = min(correlation, 0.65), 0.0  # five taps reach at most 0.67
    if correlation > 0:
        root = (1 - SHARPENED) ** 2 - 2 * correlation**2 * (1 + 2 * SHARPENED**2)
        side = (1 - SHARPENED - np.sqrt(root)) / (2 * correlation)
    kernel = np.array([-SHARPENED, side, 1, side, -SHARPENED])
    return kernel / np.sqrt((kernel**2).sum())


def blur(image, deviation):
    """Gaussian blur of a float32 image; ``deviation`` in px."""
    return cv2.GaussianBlur(image, (0, 0), deviation)
