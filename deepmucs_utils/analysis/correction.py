"""Putting a predicted composition right with what the model does on a validation set.

A model that takes some cells of one culture for another, misses some and makes some up gives a
biased composition, and the bias depends on the composition itself. The confusion matrix of the
validation set, missed and false cells included, says what a model does to each culture; turned
round, it gives back the number of cells that were there ("adjusted count": Forman, Data Min.
Knowl. Discov. 2008, 17:164).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from deepmucs_utils.analysis.composition import Counts
from deepmucs_utils.errors import DeepMuCSError


@dataclass(frozen=True)
class Correction:
    """What a model does to cells, learnt on a validation set.

    Parameters
    ----------
    cultures : tuple of str
    named : ndarray of float, shape (K, K)
        Share of the cells of each true culture (row) that are given each name (column); the rest
        of a row is missed.
    false : ndarray of float, shape (K,)
        False cells of each name in an image.
    """

    cultures: tuple
    named: np.ndarray
    false: np.ndarray

    def apply(self, predicted, n_images):
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


def learn_correction(counts):
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


def keep_cultures(counts, cultures):
    """The counts of some cultures; a detection with another name is left out, a cell as well.

    Parameters
    ----------
    counts : Counts
    cultures : sequence of str

    Returns
    -------
    Counts
        A kept cell with a name that is left out counts as missed.
    """
    rows = [counts.cultures.index(name) for name in cultures]
    inner = counts.confusion[:, [*rows, -1]]
    kept = inner[:, :, [*rows, -1]]
    left_out = np.setdiff1d(np.arange(len(counts.cultures)), rows)
    kept[:, :-1, -1] += inner[:, :-1, left_out].sum(axis=2)
    made_up = counts.confusion[:, left_out][:, :, rows].sum(axis=1)
    kept[:, -1, :-1] += made_up
    return Counts(tuple(cultures), kept)


def composition(counts, correction, val, replicates=200, seed=0):
    """Composition of a whole set: true, predicted and corrected, with intervals.

    Parameters
    ----------
    counts : Counts
        Of the set.
    correction : Correction
        Learnt on ``val``.
    val : Counts
        Of the validation set, which the intervals resample as well.
    replicates, seed : int

    Returns
    -------
    pandas.DataFrame
        One row a culture: ``cells``, ``true``, ``predicted``, ``corrected`` fractions, ``low``
        and ``high``: 95 % bootstrap interval of the corrected one over the images of both sets,
        conditional on their donors.
    """
    rng = np.random.default_rng(seed)
    n, true, predicted = len(counts.confusion), counts.true.sum(0), counts.predicted.sum(0)
    draws = []
    for _ in range(replicates):
        images = rng.integers(len(val.confusion), size=len(val.confusion))
        again = Counts(val.cultures, val.confusion[images])
        if not again.true.sum(axis=0).all():
            continue  # a draw without some culture teaches nothing about it
        drawn = counts.predicted[rng.integers(n, size=n)].sum(axis=0)
        draws.append(_share(learn_correction(again).apply(drawn, n)))
    draws = [draw for draw in draws if not np.isnan(draw).any()]
    low, high = np.quantile(draws, [0.025, 0.975], axis=0) if draws else (np.nan, np.nan)
    return pd.DataFrame(
        {
            "cells": true,
            "true": _share(true),
            "predicted": _share(predicted),
            "corrected": _share(correction.apply(predicted, n)),
            "low": low,
            "high": high,
        },
        pd.Index(counts.cultures, name="culture"),
    )


def _share(numbers):
    total = np.sum(numbers)
    return np.asarray(numbers) / total if total else np.full(len(numbers), np.nan)


def shift_mixes(counts, correction, mixes, cells=1000, fields=20, repeats=200, seed=0):
    """Predicted and corrected composition when the mix differs from the one trained on.

    The cells of a set are drawn anew, culture by culture, each with what the model did to it; and
    so are the false cells of its images.

    Parameters
    ----------
    counts : Counts
        Of a set other than the one that ``correction`` was learnt on.
    correction : Correction
    mixes : dict of str to dict of str to float
        Share of each culture by the name of the mix, e.g. ``{"9:1": {"A172": 9, "BV2": 1}}``;
        cultures that are not named are absent.
    cells, fields : int
        Size of each drawn set.
    repeats, seed : int
        How many sets are drawn.

    Returns
    -------
    pandas.DataFrame
        One row a mix and culture: ``mix, culture, true, predicted, corrected`` (mean fractions)
        and ``predicted_error, corrected_error`` (root mean square differences from the truth); NaN
        where no cell was left to tell a fraction.
    """
    rng = np.random.default_rng(seed)
    total = counts.confusion.sum(axis=0)
    rows = []
    for name, mix in mixes.items():
        share = _share([mix.get(culture, 0) for culture in counts.cultures])
        shares = {"predicted": [], "corrected": []}
        for _ in range(repeats):
            predicted = np.zeros(len(share), int)
            for culture, n in enumerate(rng.multinomial(cells, share)):
                outcomes = total[culture] / max(total[culture].sum(), 1)
                if n and not outcomes.any():
                    raise DeepMuCSError(
                        f"mix {name}: the set holds no {counts.cultures[culture]} to draw from; "
                        "take cultures that it holds."
                    )
                if n:
                    predicted += rng.multinomial(n, outcomes)[:-1]
            made_up = counts.confusion[rng.integers(len(counts.confusion), size=fields), -1, :-1]
            predicted += made_up.sum(axis=0)
            shares["predicted"].append(_share(predicted))
            shares["corrected"].append(_share(correction.apply(predicted, fields)))
        for culture, true in zip(counts.cultures, share, strict=True):
            at = counts.cultures.index(culture)
            row = {"mix": name, "culture": culture, "true": true}
            for kind, drawn in shares.items():
                values = np.array(drawn)[:, at]
                values = values[~np.isnan(values)]
                known = values.size > 0
                row[kind] = values.mean() if known else np.nan
                row[f"{kind}_error"] = np.sqrt(((values - true) ** 2).mean()) if known else np.nan
            rows.append(row)
    return pd.DataFrame(rows)
