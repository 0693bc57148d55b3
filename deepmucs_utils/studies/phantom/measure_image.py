"""Measure an image of LIVECell or a phantom: shapes, contrast, texture, rim, noise, crowding.

The definitions are those of the table of genuine LIVECell statistics that comes with the package
(see `studies.phantom.reference`), so that phantom and LIVECell can be compared. All distances are
Euclidean, from pixel centre to pixel centre, px. Grey levels are relative to the median of the
image outside all masks.
"""

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt
from skimage.measure import regionprops

from deepmucs_utils.data.masks import paint
from deepmucs_utils.studies.measures import autocorrelation, band_power, by_distance

CORE = 4.0  # the core of a cell lies deeper than this below its edge, px
DEEP = 8.0  # the core is compared with the margin from `CORE` to this below the edge, px
CORE_LEAST = 31  # px² that a core needs for its level and its standard deviation
TEXTURE_LEAST = 60  # px² that a core needs for its skewness and autocorrelation
LAGS = (1, 2, 3)  # px
PERIODS = (1.4, 3, 4, 6, 10, 20)  # limits of the bands of texture, px
CONTACT = 1.5  # a pixel lies between two cells when both are nearer than this, px
CONTACT_LEAST = 10  # such pixels that a cell's contact needs
NEIGHBOUR = 3.0  # cells nearer than this touch, px
STEPS = np.arange(-6, 11)  # distances of the edge profile, px; negative inside
FREE = 16.0  # an edge is free when nothing else is nearer than this, px
FREE_LEAST = 25  # free pixels next to its edge that a cell needs for a profile
STEP_LEAST = 5  # pixels that one step of a profile needs
AWAY = 5.0  # structure is looked for this far from any mask, px
SIGNIFICANT = 5.0  # times its noise's standard deviation that smoothed structure has
SPECK = 4.0  # the same of a speck, without smoothing
SPECK_AREA = (8, 150)  # px², least and most
BLOCK = 16  # px, side of the squares in which noise is estimated


def measure_image(image, segmentations):
    """Measure one image.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)
    segmentations : sequence
        Of each cell, as `data.masks.decode` takes it.

    Returns
    -------
    cells : list of dict
        For each cell ``area`` (px²), ``border`` (cut by the image's border); ``aspect`` (ratio of
        the axes of the ellipse with the same second moments), ``solidity`` (share of its convex
        hull), ``circularity`` (4π area / perimeter²); ``mean, sd`` and ``p01, p99`` (percentiles)
        of the mask and ``core_mean, core_sd`` of the core, grey levels; ``core_skew`` and
        ``acf1 … acf3``, the core's autocorrelation along x and y pooled; ``power3 … power20``,
        variance of the core at periods up to so many px and above those of the band before (the
        weight rises to 1 over `CORE` px, so that edges don't count); ``core_to_margin``, standard
        deviation deeper than `DEEP` over that between `CORE` and `DEEP`; ``touching``, whether
        another cell is within `NEIGHBOUR` px; ``contact, contact_sd``, median and standard
        deviation of the pixels nearer than `CONTACT` to both the cell and another one.
    image_facts : dict
        ``cells``; ``cover``, share of pixels in a mask; ``overlap``, share of these in several;
        ``touching``, share of the cells; ``specks``; ``noise`` and its autocorrelations
        ``noise_x1, noise_y1``.
    profiles : list of ndarray of float, shape (17,)
        For each cell with enough free edge, the mean grey level at each of `STEPS`.
    """
    placed, count = [], np.zeros(image.shape, np.int32)
    for (top, left, _, _), mask in paint(segmentations, *image.shape).masks:
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        if w:
            window = np.s_[top + y : top + y + h, left + x : left + x + w]
            placed.append((window, mask[y : y + h, x : x + w]))
            count[window] += placed[-1][1]
    outside = count == 0
    grey = image.astype(np.float32) - np.float32(
        np.median(image[outside] if outside.any() else image)
    )
    structure, facts = _measure_background(grey, count)
    cells, profiles = [], []
    for window, mask in placed:
        surroundings, profile = _measure_surroundings(grey, count, structure, window, mask)
        border = any(
            part.start == 0 or part.stop == side
            for part, side in zip(window, image.shape, strict=True)
        )
        cells.append(_measure_cell(grey[window], mask) | {"border": border} | surroundings)
        profiles += [] if profile is None else [profile]
    facts |= {
        "cells": len(cells),
        "cover": float((~outside).mean()),
        "overlap": float((count > 1).sum() / max((~outside).sum(), 1)),
        "touching": float(np.mean([cell["touching"] for cell in cells])) if cells else np.nan,
    }
    return cells, facts, profiles


def _measure_cell(grey, mask):
    """Shape, contrast and texture of one cell in its window; see `measure_image`."""
    region = regionprops(mask.astype(np.uint8))[0]
    inside = grey[mask]
    p01, p99 = np.percentile(inside, (1, 99))
    cell = {
        "area": len(inside),
        "aspect": region.axis_major_length / max(region.axis_minor_length, 0.1),
        "solidity": region.solidity,
        "circularity": 4 * np.pi * len(inside) / (region.perimeter**2 or np.nan),
        "mean": float(inside.mean()),
        "sd": float(inside.std()),
        "p01": float(p01),
        "p99": float(p99),
    }
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    core, deep = depth > CORE, depth > DEEP
    values = grey[core]
    if deep.sum() >= CORE_LEAST:
        cell["core_to_margin"] = float(grey[deep].std() / max(grey[core & ~deep].std(), 0.1))
    if len(values) >= CORE_LEAST:
        cell |= {"core_mean": float(values.mean()), "core_sd": float(values.std())}
    if len(values) >= TEXTURE_LEAST and values.std() > 0:
        residual = grey - values.mean()
        cell["core_skew"] = float((residual[core] ** 3).mean() / values.std() ** 3)
        for lag in LAGS:
            cell[f"acf{lag}"] = autocorrelation(residual, core, ((0, lag), (lag, 0)))
        powers = band_power(grey, (depth / CORE - 1).clip(0, 1), PERIODS)
        cell |= {f"power{top}": float(p) for top, p in zip(PERIODS[1:], powers, strict=True)}
    return cell


def _measure_surroundings(grey, count, structure, window, mask):
    """Contact of a cell with others, and its edge profile; None where little of it is free.

    The distance of an outside pixel is that to the nearest pixel of the mask, rounded down; that of
    an inside pixel is 1 − its distance to the nearest outside pixel, rounded down. So 0 is the
    outermost pixel of the mask. A pixel counts if nothing else (mask or structure) is within `FREE`
    px of it.
    """
    reach = int(FREE) + int(STEPS[-1]) + 1
    here = tuple(slice(max(part.start - reach, 0), part.stop + reach) for part in window)
    own = np.zeros(grey.shape, bool)
    own[window] = mask
    own = own[here]
    others = count[here] > own
    away = distance_transform_edt(~own)
    near = distance_transform_edt(~others) < CONTACT if others.any() else others
    between = grey[here][near & (away < CONTACT)]
    contact = {"touching": bool((others & (away <= NEIGHBOUR)).any())}
    if len(between) >= CONTACT_LEAST:
        contact |= {"contact": float(np.median(between)), "contact_sd": float(between.std())}
    depth = distance_transform_edt(np.pad(own, 1, mode="edge"))[1:-1, 1:-1]
    step = np.floor(np.where(own, 1 - depth, away) + 1e-3).astype(int)
    taken = others | structure[here]
    if taken.any():
        step[distance_transform_edt(~taken) <= FREE] = STEPS[-1] + 1
    if (step == 1).sum() < FREE_LEAST:
        return contact, None
    n, mean, _ = by_distance(grey[here], step, STEPS)
    return contact, np.where(n >= STEP_LEAST, mean, np.nan)


def _measure_background(grey, count):
    """Structure that no mask covers, and specks and noise of an image; see `measure_image`."""
    free = distance_transform_edt(count == 0) > AWAY if count.any() else np.ones(count.shape, bool)
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    structure = free & (np.abs(smooth) > SIGNIFICANT * _block_deviation(smooth, free))
    dots = free & (np.abs(grey) > SPECK * _block_deviation(grey, free))
    areas = cv2.connectedComponentsWithStats(dots.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA]
    facts = {"specks": int(((areas >= SPECK_AREA[0]) & (areas < SPECK_AREA[1])).sum())}
    clean = free & ~(cv2.dilate((structure | dots).astype(np.uint8), np.ones((9, 9))) > 0)
    if clean.sum() >= 500:
        residual = grey - grey[clean].mean()
        facts["noise"] = float(residual[clean].std())
        facts["noise_x1"] = autocorrelation(residual, clean, ((0, 1),))
        facts["noise_y1"] = autocorrelation(residual, clean, ((1, 0),))
    return structure, facts


def _block_deviation(values, free):
    """Standard deviation of the quietest fifth of the free squares, 1 where there is none."""
    rows, columns = (side // BLOCK * BLOCK for side in values.shape)
    shape = (rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    whole = free[:rows, :columns].reshape(shape).all((1, 3))
    deviations = values[:rows, :columns].reshape(shape).std((1, 3))[whole]
    return float(np.percentile(deviations, 20)) if len(deviations) else 1.0
