"""Measure an image of LIVECell or a phantom: shapes, contrast, texture, rim, noise, crowding.

The definitions are those of the table of genuine LIVECell statistics that comes with the package
(see `studies.phantom.reference`), so that phantom and LIVECell can be laid side by side. All
distances are Euclidean, from pixel centre to pixel centre, px. Grey levels are relative to the
median of the image outside all masks.
"""

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt
from skimage.measure import regionprops

from deepmucs_utils.data.masks import rasterise

CORE = 4.0  # the core of a cell lies deeper than this below its edge, px
CORE_LEAST = 31  # px² that a core needs for its level and its standard deviation
TEXTURE_LEAST = 60  # px² that a core needs for its skewness and autocorrelation
LAGS = (1, 2, 3)  # px
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


def measure_image(image, polygons):
    """Measure one image.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)
    polygons : sequence of list of array_like
        For each cell its parts ``[x0, y0, x1, y1, …]``, px.

    Returns
    -------
    cells : list of dict
        For each cell ``area`` (px²), ``border`` (cut by the image's border); ``aspect`` (ratio of
        the axes of the ellipse with the same second moments), ``solidity`` (share of its convex
        hull), ``circularity`` (4π area / perimeter²); ``mean, sd`` and ``p01, p99`` (percentiles)
        of the mask and ``core_mean, core_sd`` of the core, grey levels; ``core_skew`` and
        ``acf1 … acf3``, the core's autocorrelation along x and y pooled; ``neighbours``, the
        number of cells within `NEIGHBOUR` px.
    image_facts : dict
        ``cells``; ``cover``, share of pixels in a mask; ``overlap``, share of these in several;
        ``specks``; ``noise`` and its autocorrelations ``noise_x1, noise_y1``.
    profiles : list of ndarray of float, shape (17,)
        For each cell with enough free edge, the mean grey level at each of `STEPS`.
    """
    height, width = image.shape
    placed = [_place(polygon, height, width) for polygon in polygons]
    placed = [(window, mask) for window, mask in placed if mask.any()]
    count = np.zeros(image.shape, np.int32)
    for window, mask in placed:
        count[window] += mask
    outside = count == 0
    level = float(np.median(image[outside])) if outside.any() else float(np.median(image))
    grey = image.astype(np.float32) - np.float32(level)
    structure, facts = _measure_background(grey, count)
    covered = ~outside
    facts |= {
        "cells": len(placed),
        "cover": float(covered.mean()),
        "overlap": float((count > 1).sum() / max(covered.sum(), 1)),
    }
    cells, profiles = [], []
    neighbours = _count_neighbours(placed, image.shape)
    for place, (window, mask) in enumerate(placed):
        cell = _measure_cell(grey[window], mask)
        cell["border"] = _at_border(window, image.shape)
        cells.append(cell | {"neighbours": neighbours[place]})
        profile = _edge_profile(grey, count, structure, window, mask)
        if profile is not None:
            profiles.append(profile)
    return cells, facts, profiles


def _place(polygon, height, width):
    """Window and mask of one polygon, without empty margins."""
    points = np.concatenate([np.reshape(part, (-1, 2)) for part in polygon])
    x0, y0 = np.floor(points.min(0)).astype(int).clip(0)
    x1, y1 = np.ceil(points.max(0)).astype(int) + 2
    mask = rasterise(polygon, (y0, x0, min(y1, height), min(x1, width)))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.s_[0:0, 0:0], np.zeros((0, 0), bool)
    tight = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    window = np.s_[y0 + rows[0] : y0 + rows[-1] + 1, x0 + columns[0] : x0 + columns[-1] + 1]
    return window, mask[tight]


def _grow(window, reach, shape):
    """The window enlarged on every side, inside the image, and the old one's place in it."""
    rows, columns = window
    grown = np.s_[
        max(rows.start - reach, 0) : min(rows.stop + reach, shape[0]),
        max(columns.start - reach, 0) : min(columns.stop + reach, shape[1]),
    ]
    top, left = rows.start - grown[0].start, columns.start - grown[1].start
    inner = np.s_[top : top + rows.stop - rows.start, left : left + columns.stop - columns.start]
    return grown, inner


def _at_border(window, shape):
    rows, columns = window
    return bool(
        rows.start == 0 or columns.start == 0 or rows.stop == shape[0] or columns.stop == shape[1]
    )


def _measure_cell(grey, mask):
    """Shape, contrast and texture of one cell in its window; see `measure_image`."""
    region = regionprops(mask.astype(np.uint8))[0]
    inside = grey[mask]
    area = len(inside)
    p01, p99 = np.percentile(inside, (1, 99))
    cell = {
        "area": area,
        "aspect": region.axis_major_length / max(region.axis_minor_length, 0.1),
        "solidity": region.solidity,
        "circularity": 4 * np.pi * area / region.perimeter**2 if region.perimeter else np.nan,
        "mean": float(inside.mean()),
        "sd": float(inside.std()),
        "p01": float(p01),
        "p99": float(p99),
    }
    core = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] > CORE
    values = grey[core]
    if len(values) >= CORE_LEAST:
        cell |= {"core_mean": float(values.mean()), "core_sd": float(values.std())}
    if len(values) >= TEXTURE_LEAST and values.std() > 0:
        residual = np.where(core, grey - values.mean(), 0)
        cell["core_skew"] = float((residual[core] ** 3).mean() / values.std() ** 3)
        for lag in LAGS:
            cell[f"acf{lag}"] = _autocorrelation(residual, core, ((0, lag), (lag, 0)))
    return cell


def _autocorrelation(residual, region, shifts):
    """Mean product of pixels at these shifts, both in the region, over the mean square there."""
    products, pairs = 0.0, 0
    for down, right in shifts:
        rows, columns = region.shape[0] - down, region.shape[1] - right
        if min(rows, columns) <= 0:
            continue
        both = region[:rows, :columns] & region[down:, right:]
        products += (residual[:rows, :columns] * residual[down:, right:])[both].sum()
        pairs += int(both.sum())
    return float(products / max(pairs, 1) / (residual[region] ** 2).mean())


def _count_neighbours(placed, shape):
    """For each cell the number of cells within `NEIGHBOUR` px."""
    reach = int(np.ceil(NEIGHBOUR))
    starts = np.array([(w[0].start, w[1].start) for w, _ in placed]).reshape(-1, 2)
    stops = np.array([(w[0].stop, w[1].stop) for w, _ in placed]).reshape(-1, 2)
    found = []
    for place, (window, mask) in enumerate(placed):
        grown, inner = _grow(window, reach, shape)
        padded = np.zeros([part.stop - part.start for part in grown], bool)
        padded[inner] = mask
        near = distance_transform_edt(~padded) <= NEIGHBOUR
        low = [part.start for part in grown]
        high = [part.stop for part in grown]
        close = ((starts < high) & (stops > low)).all(1)
        close[place] = False
        found.append(0)
        for other in np.flatnonzero(close):
            (rows, columns), there = placed[other]
            top, bottom = max(rows.start, low[0]), min(rows.stop, high[0])
            left, right = max(columns.start, low[1]), min(columns.stop, high[1])
            ours = near[top - low[0] : bottom - low[0], left - low[1] : right - low[1]]
            part = np.s_[
                top - rows.start : bottom - rows.start, left - columns.start : right - columns.start
            ]
            found[-1] += bool((ours & there[part]).any())
    return found


def _edge_profile(grey, count, structure, window, mask):
    """Grey level by distance from the free part of a cell's edge; None where little is free.

    The distance of an outside pixel is that to the nearest pixel of the mask, rounded down; that of
    an inside pixel is 1 − its distance to the nearest outside pixel, rounded down. So 0 is the
    outermost pixel of the mask. A pixel counts if nothing else (mask or structure) is within `FREE`
    px of it.
    """
    reach = int(FREE) + int(STEPS[-1]) + 1
    grown, inner = _grow(window, reach, grey.shape)
    own = np.zeros([part.stop - part.start for part in grown], bool)
    own[inner] = mask
    other = (count[grown] - own > 0) | structure[grown]
    distance = np.where(
        own,
        1 - distance_transform_edt(np.pad(own, 1, mode="edge"))[1:-1, 1:-1],
        distance_transform_edt(~own),
    )
    step = np.floor(distance + 1e-3).astype(int)
    used = (step >= STEPS[0]) & (step <= STEPS[-1])
    if other.any():
        used &= distance_transform_edt(~other) > FREE
    if (step[used] == 1).sum() < FREE_LEAST:
        return None
    place = step[used] - STEPS[0]
    pixels = np.bincount(place, minlength=len(STEPS))
    total = np.bincount(place, grey[grown][used], minlength=len(STEPS))
    return np.where(pixels >= STEP_LEAST, total / np.maximum(pixels, 1), np.nan)


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
        facts["noise_x1"] = _autocorrelation(residual, clean, ((0, 1),))
        facts["noise_y1"] = _autocorrelation(residual, clean, ((1, 0),))
    return structure, facts


def _block_deviation(values, free):
    """Standard deviation of the quietest fifth of the free squares, 1 where there is none."""
    rows, columns = (side // BLOCK * BLOCK for side in values.shape)
    shape = (rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    whole = free[:rows, :columns].reshape(shape).all((1, 3))
    deviations = values[:rows, :columns].reshape(shape).std((1, 3))[whole]
    return float(np.percentile(deviations, 20)) if len(deviations) else 1.0
