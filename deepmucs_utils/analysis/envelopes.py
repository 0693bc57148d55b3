"""Global rank envelopes: one test for a whole curve, exact with a few hundred simulations.

Myllymäki et al., J. R. Stat. Soc. B 2017, 79:381. With few simulations many curves are the most
extreme one somewhere; the continuous rank (Hahn 2015; Mrkvička et al., Stat. Med. 2022, 41:5203)
distinguishes them by how far out they lie.
"""

import numpy as np
from scipy.stats import rankdata

LEVEL = 0.05  # of tests and envelopes


def extremeness(curves):
    """How central each curve is where it is least central.

    Parameters
    ----------
    curves : ndarray, shape (S, m)

    Returns
    -------
    ndarray of float, shape (S,)
        Smallest continuous rank of each curve over its arguments, counted from below or from
        above, the smaller of the two; near 0 for a curve that lies far outside all others.
    """
    columns = np.asarray(curves, float).T
    return np.min([np.minimum(_ranks(y), _ranks(-y)) for y in columns], axis=0)


def _ranks(values):
    """Continuous ranks from below: in (j − 1, j) for the j-th smallest, as it lies between its
    neighbours; the middle of their ranks for equal values; for a single smallest one the smaller,
    the further away it lies."""
    order = np.argsort(values, kind="stable")
    y, ranks = values[order], rankdata(values)[order] - 0.5
    differs = np.concatenate([[True], np.diff(y) > 0, [True]])
    single = differs[:-1] & differs[1:]
    inner = np.flatnonzero(single[1:-1]) + 1
    ranks[inner] = inner + (y[inner] - y[inner - 1]) / (y[inner + 1] - y[inner - 1])
    if y.size > 1 and single[0]:
        spread = y[-1] - y[1]
        ranks[0] = np.exp(-(y[1] - y[0]) / spread) if spread else 0.0
    return ranks[np.argsort(order)]


def curve_p(curves):
    """p value of curve 0 among all: the share of curves that are at least as extreme.

    Parameters
    ----------
    curves : ndarray, shape (S, m)
        The observed curve, then those under chance.

    Returns
    -------
    float
        Exact under chance, or larger where curves are equally extreme.
    """
    central = extremeness(curves)
    return float((central <= central[0]).mean())


def envelope(curves):
    """Global envelope: the range of the curves that are not among the most extreme ones.

    Parameters
    ----------
    curves : ndarray, shape (S, m)

    Returns
    -------
    low, high : ndarray, shape (m,)
        Under chance a curve leaves the envelope, anywhere, in a share `LEVEL` of sets, or fewer
        where curves are equally extreme.
    """
    central = extremeness(curves)
    at_least = np.searchsorted(np.sort(central), central, "right") / central.size
    kept = np.asarray(curves)[at_least > LEVEL]
    return kept.min(axis=0), kept.max(axis=0)


def holm(p_values):
    """Holm's correction for several tests (Scand. J. Statist. 1979, 6:65).

    Parameters
    ----------
    p_values : sequence of float

    Returns
    -------
    ndarray of float
        Corrected p values in the given order, at most 1.
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values, kind="stable")
    corrected = np.maximum.accumulate(p_values[order] * (p_values.size - np.arange(p_values.size)))
    return np.minimum(corrected, 1)[np.argsort(order)]
