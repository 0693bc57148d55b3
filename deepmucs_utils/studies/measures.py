"""Measures of texture that several studies take: autocorrelation, power, grey level by distance."""

import numpy as np

RESOLUTION = 64  # px, least side of the field whose power spectrum is taken


def autocorrelation(values, region, shifts) -> np.ndarray:
    """Mean product of pixels some shifts apart, both in a region, over the mean square there.

    Parameters
    ----------
    values : ndarray of float, shape (…, height, width)
        Deviations from a mean.
    region : ndarray of bool, same shape
    shifts : sequence of (int, int)
        Pixels down (not negative) and to the right; their products are pooled.

    Returns
    -------
    float or ndarray of float, shape (…)
    """
    height, width = values.shape[-2:]
    values = values.astype(float) * region
    products = pairs = 0
    for dy, dx in shifts:
        first = np.s_[..., : height - dy, max(-dx, 0) : width - max(dx, 0)]
        second = np.s_[..., dy:, max(dx, 0) : width + min(dx, 0)]
        products = products + (values[first] * values[second]).sum((-2, -1))
        pairs = pairs + (region[first] & region[second]).sum((-2, -1))
    square = (values**2).sum((-2, -1)) / region.sum((-2, -1))
    return products / np.maximum(pairs, 1) / np.maximum(square, 1e-6)


def band_power(values, weights, periods):
    """Variance of a region in bands of spatial period, averaged over directions.

    Parameters
    ----------
    values : ndarray of float, shape (height, width)
    weights : ndarray of float, same shape
        Of each pixel; where they fall off slowly, less power leaks from long periods to short ones.
    periods : sequence of float
        Limits of the bands, ascending, px.

    Returns
    -------
    ndarray of float, shape (len(periods) - 1,)
        All bands together, from 0 to infinity, have the weighted variance.
    """
    shape = np.maximum(values.shape, RESOLUTION)
    centred = (values - np.average(values, weights=weights)) * weights
    power = np.abs(np.fft.fft2(centred, shape)) ** 2 / (weights**2).sum() / shape.prod()
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    limits = 1 / np.array(periods[::-1], float)
    return np.histogram(frequency, limits, weights=power)[0][::-1]


def by_distance(values, step, steps):
    """Number, mean and mean square of the values at each distance.

    Parameters
    ----------
    values : ndarray of float, shape (…, height, width)
    step : ndarray of int, same shape
        Distance of each pixel, px; what lies outside ``steps`` does not count.
    steps : ndarray of int, shape (m,)
        Ascending by 1.

    Returns
    -------
    n, mean, square : ndarray, shape (…, m)
        Mean and square are 0 where n is 0.
    """
    places = np.arange(values[..., 0, 0].size).reshape(values.shape[:-2])[..., None, None]
    used = (step >= steps[0]) & (step <= steps[-1])
    group = (places * len(steps) + step - steps[0])[used]
    n, total, square = (
        np.bincount(group, weights, places.size * len(steps)).reshape(*values.shape[:-2], -1)
        for weights in (None, values[used], values[used] ** 2)
    )
    return n, total / np.maximum(n, 1), square / np.maximum(n, 1)
