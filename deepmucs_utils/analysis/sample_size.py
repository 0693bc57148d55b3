"""How many fields must be imaged for a composition of wanted precision?"""

import math

import numpy as np
from scipy.stats import norm

from deepmucs_utils.errors import DeepMuCSError


def design_effect(counts_by_field):
    """How much more a fraction varies between fields than if each cell were drawn by itself.

    Parameters
    ----------
    counts_by_field : ndarray of int, shape (F, K)
        Cells of each field and culture.

    Returns
    -------
    ndarray of float, shape (K,)
        Variance of the pooled fraction as a ratio estimate over fields (Cochran, Sampling
        Techniques, 1977, eq. 2.39 and 6.13), divided by p (1 − p) / cells. 1 where cells are
        independent; NaN for a culture without cells, or the only one, or with fewer than two
        fields.
    """
    n = np.asarray(counts_by_field, float)
    size, fields = n.sum(axis=1), len(n)
    if fields < 2:
        return np.full(n.shape[1], np.nan)
    p = n.sum(axis=0) / size.sum()
    residual = n - size[:, None] * p
    variance = (residual**2).sum(axis=0) / (fields - 1) * fields / size.sum() ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((p > 0) & (p < 1), variance / (p * (1 - p) / size.sum()), np.nan)


def fields_needed(fraction, half_width, cells_per_field, effect=1.0, confidence=0.95):
    """Number of fields that give a culture's fraction to a wanted precision.

    ``fields = z² · effect · p (1 − p) / (m · h²)``, with p the fraction, h the half-width, m the
    cells of a field (Cochran 1977, section 4.4; Kish, Survey Sampling, 1965, for the effect).

    Parameters
    ----------
    fraction : float
        Expected, in (0, 1).
    half_width : float
        Of the confidence interval, in the unit of the fraction.
    cells_per_field : float
    effect : float
        Design effect, from `design_effect`.
    confidence : float

    Returns
    -------
    int

    Examples
    --------
    >>> fields_needed(0.5, 0.05, 100), fields_needed(0.5, 0.05, 100, effect=3)
    (4, 12)
    """
    for name, value in (("fraction", fraction), ("half_width", half_width)):
        if not 0 < value < 1:
            raise DeepMuCSError(f"{name} {value}: expected a number between 0 and 1.")
    z = norm.ppf((1 + confidence) / 2)
    return math.ceil(z**2 * effect * fraction * (1 - fraction) / (cells_per_field * half_width**2))
