"""What share of the cells is of each culture: true, as predicted, corrected, and how sure.

A model that confuses cultures, misses cells and adds false ones gives a biased composition, and the
bias depends on the composition itself. The confusion matrix of the validation set, missed and false
cells included, says what a model does to each culture; inverted, it gives back the number of cells
that were there ("adjusted count": Forman, Data Min. Knowl. Discov. 2008, 17:164).
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from scipy.stats import norm
from scipy.stats import t as student

from deepmucs_utils.analysis.counting import Counts
from deepmucs_utils.errors import DeepMuCSError

LEAST_CELLS = 50  # of a field whose composition is compared: below, chance alone decides
LEAST_FIELDS = 3  # for limits of agreement
REPLICATES = 200
SHIFTED_CELLS, SHIFTED_FIELDS = 1000, 20  # size of a set that is drawn in another mix


def fractions(counts) -> pd.DataFrame:
    """Fraction of each culture in each image.

    Parameters
    ----------
    counts : Counts

    Returns
    -------
    pandas.DataFrame
        Columns ``image`` (index), ``culture``, ``cells`` and ``predicted_cells`` (of all cultures
        in the image), ``true``, ``predicted`` (fractions, NaN in an image without cells).
    """
    images, cultures = counts.true.shape
    cells, predicted_cells = counts.true.sum(axis=1), counts.predicted.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return pd.DataFrame(
            {
                "image": np.repeat(np.arange(images), cultures),
                "culture": np.tile(counts.cultures, images),
                "cells": np.repeat(cells, cultures),
                "predicted_cells": np.repeat(predicted_cells, cultures),
                "true": (counts.true / cells[:, None]).ravel(),
                "predicted": (counts.predicted / predicted_cells[:, None]).ravel(),
            }
        )


def agreement(table) -> pd.DataFrame:
    """Bias and 95 % limits of agreement of the predicted fractions (Bland and Altman, Lancet 1986).

    Parameters
    ----------
    table : pandas.DataFrame
        From `fractions`; fields with fewer than `LEAST_CELLS` true cells are left out.

    Returns
    -------
    pandas.DataFrame
        One row per culture that occurs, true or predicted: ``fields``, ``true`` (mean fraction),
        ``bias`` (mean of predicted minus true) with ``bias_low``, ``bias_high`` (95 % confidence
        interval), and ``low``, ``high``: limits between which the difference lies in 95 % of
        fields. NaN with fewer than `LEAST_FIELDS` fields.
    """
    table = table[(table["cells"] >= LEAST_CELLS) & (table["predicted_cells"] > 0)]
    rows = {}
    for culture, part in table.groupby("culture", sort=False):
        n, difference = len(part), part["predicted"] - part["true"]
        if not (part["true"].any() or part["predicted"].any()):
            continue
        row = {"fields": n, "true": part["true"].mean()}
        if n >= LEAST_FIELDS:
            bias, spread = difference.mean(), difference.std(ddof=1)
            half = student.ppf(0.975, n - 1) * spread / math.sqrt(n)
            row |= {"bias": bias, "bias_low": bias - half, "bias_high": bias + half}
            row |= {"low": bias - 1.96 * spread, "high": bias + 1.96 * spread}
        rows[culture] = row
    columns = ["fields", "true", "bias", "bias_low", "bias_high", "low", "high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("culture")


@dataclass(frozen=True)
class Correction:
    """What a model does to cells, learned on a validation set.

    Parameters
    ----------
    cultures : tuple of str
    named : ndarray of float, shape (K, K)
        Share of the cells of each true culture (row) that are given each name (column); the rest
        of a row is missed.
    false : ndarray of float, shape (K,)
        False cells of each name per image.
    """

    cultures: tuple
    named: np.ndarray
    false: np.ndarray

    def apply(self, predicted, n_images) -> np.ndarray:
        """The numbers of cells that best explain the predicted ones.

        Parameters
        ----------
        predicted : ndarray of int, shape (K,)
            Predicted cells of each culture in ``n_images`` images.
        n_images : int

        Returns
        -------
        ndarray of float, shape (K,)
            Not negative. Least squares, each count weighted by its Poisson error; without a
            solution that fits better, a culture's number is 0. All NaN where different numbers of
            cells explain the same counts, as when a culture never gets its name.
        """
        if np.linalg.matrix_rank(self.named) < len(self.cultures):
            return np.full(len(self.cultures), np.nan)
        weight = 1 / np.sqrt(np.asarray(predicted) + 1.0)
        wanted = np.asarray(predicted) - self.false * n_images
        return nnls(self.named.T * weight[:, None], wanted * weight)[0]


def learn_correction(counts) -> Correction:
    """Learn the correction from a validation set.

    Parameters
    ----------
    counts : Counts

    Returns
    -------
    Correction

    Raises
    ------
    DeepMuCSError
        If the set lacks a culture: what a model does to it is then unknown.
    """
    total = counts.confusion.sum(axis=0)
    cells = total[:-1].sum(axis=1)
    for name, n in zip(counts.cultures, cells, strict=True):
        if n == 0:
            raise DeepMuCSError(
                f"{name}: no cell of this culture in the validation set, so the composition cannot "
                "be corrected; validate on a set that holds every culture, or leave it out with "
                "--cultures."
            )
    return Correction(
        counts.cultures, total[:-1, :-1] / cells[:, None], total[-1, :-1] / len(counts.confusion)
    )


def corrected_composition(counts, val) -> pd.DataFrame:
    """Composition of a whole set: true, predicted and corrected, with intervals.

    Parameters
    ----------
    counts : Counts
        Of the set.
    val : Counts
        Of the validation set, on which the correction is learned; intervals resample it as well.

    Returns
    -------
    pandas.DataFrame
        One row per culture: ``cells``, ``true``, ``predicted``, ``corrected`` fractions, ``low``
        and ``high``: 95 % bootstrap interval of the corrected one over the images of both sets,
        conditional on their donors.
    """
    rng, draws = np.random.default_rng(0), []
    n, true = len(counts.confusion), counts.true.sum(axis=0)
    predicted = counts.predicted.sum(axis=0)
    for _ in range(REPLICATES):
        images = rng.integers(len(val.confusion), size=len(val.confusion))
        again = Counts(val.cultures, val.confusion[images])
        if again.true.sum(axis=0).all():  # a draw without some culture teaches nothing about it
            drawn = counts.predicted[rng.integers(n, size=n)].sum(axis=0)
            draws.append(_share(learn_correction(again).apply(drawn, n)))
    draws = pd.DataFrame(draws, columns=counts.cultures, dtype=float).dropna()
    return pd.DataFrame(
        {
            "cells": true,
            "true": _share(true),
            "predicted": _share(predicted),
            "corrected": _share(learn_correction(val).apply(predicted, n)),
            "low": draws.quantile(0.025).to_numpy(),
            "high": draws.quantile(0.975).to_numpy(),
        },
        pd.Index(counts.cultures, name="culture"),
    )


def _share(numbers):
    total = np.sum(numbers)
    return np.asarray(numbers) / total if total else np.full(len(numbers), np.nan)


def shift_mixes(counts, correction, mixes) -> pd.DataFrame:
    """Predicted and corrected composition when the mix differs from the one trained on.

    `SHIFTED_CELLS` cells of a set are resampled by culture, each with what the model did to it; so
    are the false cells of `SHIFTED_FIELDS` of its images. This is repeated `REPLICATES` times.

    Parameters
    ----------
    counts : Counts
        Of a set other than the one that ``correction`` was learned on.
    correction : Correction
    mixes : dict of str to dict of str to float
        Share of each culture by the name of the mix, e.g. ``{"9:1": {"A172": 9, "BV2": 1}}``;
        cultures that are not named are absent.

    Returns
    -------
    pandas.DataFrame
        One row per mix and culture: ``mix, culture, true, predicted, corrected`` (mean fractions)
        and ``predicted_error, corrected_error`` (root mean square differences from the truth); NaN
        where no cell was left to give a fraction.
    """
    rng, total = np.random.default_rng(0), counts.confusion.sum(axis=0)
    tables = []
    for name, mix in mixes.items():
        share = _share([mix.get(culture, 0) for culture in counts.cultures])
        cells = rng.multinomial(SHIFTED_CELLS, share, size=REPLICATES)
        images = rng.integers(len(counts.confusion), size=(REPLICATES, SHIFTED_FIELDS))
        named = counts.confusion[images, -1, :-1].sum(axis=1)
        for culture in np.flatnonzero(share):
            if not total[culture].any():
                raise DeepMuCSError(
                    f"mix {name}: the set holds no {counts.cultures[culture]} to draw from; take "
                    "cultures that it holds."
                )
            named += rng.multinomial(cells[:, culture], _share(total[culture]))[:, :-1]
        corrected = [correction.apply(row, SHIFTED_FIELDS) for row in named]
        table = {"mix": name, "culture": counts.cultures, "true": share}
        for kind, drawn in (("predicted", named), ("corrected", corrected)):
            drawn = pd.DataFrame([_share(row) for row in drawn])  # its means leave NaN out
            table[kind] = drawn.mean()
            table[f"{kind}_error"] = ((drawn - share) ** 2).mean() ** 0.5
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def design_effect(counts_by_field) -> np.ndarray:
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


def fields_needed(fraction, half_width, cells_per_field, effect=1.0) -> int:
    """Number of fields that give a culture's fraction to a wanted precision.

    ``fields = z² · effect · p (1 − p) / (m · h²)``, with p the fraction, h the half-width, m the
    cells of a field (Cochran 1977, section 4.4; Kish, Survey Sampling, 1965, for the effect).

    Parameters
    ----------
    fraction : float
        Expected, in (0, 1).
    half_width : float
        Of the 95 % confidence interval, in the unit of the fraction.
    cells_per_field : float
    effect : float
        Design effect, from `design_effect`.

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
    z = norm.ppf(0.975)
    return math.ceil(z**2 * effect * fraction * (1 - fraction) / (cells_per_field * half_width**2))
