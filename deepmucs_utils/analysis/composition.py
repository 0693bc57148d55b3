"""What share of the cells is of each culture: true, as predicted, and corrected.

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
from scipy.stats import t as student

from deepmucs_utils.analysis.confusion import confusion_by_image
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.records import culture_names

LEAST_CELLS = 50  # of a field whose composition is compared: below, chance alone decides
LEAST_FIELDS = 3  # for limits of agreement


@dataclass(frozen=True)
class Counts:
    """Cells of a set by image, true and predicted culture.

    Parameters
    ----------
    cultures : tuple of str
    confusion : ndarray of int, shape (I, K + 1, K + 1)
        From `confusion.confusion_by_image`.
    """

    cultures: tuple
    confusion: np.ndarray

    @property
    def true(self) -> np.ndarray:
        """True cells of each image and culture; int, shape (I, K)."""
        return self.confusion[:, :-1].sum(axis=2)

    @property
    def predicted(self) -> np.ndarray:
        """Predicted cells of each image and culture; int, shape (I, K)."""
        return self.confusion[:, :, :-1].sum(axis=1)

    def keep(self, cultures) -> "Counts":
        """The counts of some cultures; the cells of others, and other names, are left out.

        Parameters
        ----------
        cultures : sequence of str

        Returns
        -------
        Counts
            A kept cell with a name that is left out counts as missed; a cell that is left out, with
            a name that is kept, as false.
        """
        place = np.full(len(self.cultures) + 1, len(cultures))
        place[[self.cultures.index(name) for name in cultures]] = np.arange(len(cultures))
        select = np.eye(len(cultures) + 1, dtype=int)[place]
        kept = select.T @ self.confusion @ select
        kept[:, -1, -1] = 0
        return Counts(tuple(cultures), kept)


def count(ground_truth, kept, iou_type="segm") -> Counts:
    """Count the cells of a set, true and predicted.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.
    kept : list of dict
        From `operating_point.confident`.
    iou_type : {"bbox", "segm"}
        How a detection is matched to its cell.

    Returns
    -------
    Counts
    """
    names = culture_names(ground_truth).values()
    return Counts(tuple(names), confusion_by_image(ground_truth, kept, iou_type))


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


def agreement(table, least_cells=LEAST_CELLS) -> pd.DataFrame:
    """Bias and 95 % limits of agreement of the predicted fractions (Bland and Altman, Lancet 1986).

    Parameters
    ----------
    table : pandas.DataFrame
        From `fractions`.
    least_cells : int
        Fields with fewer true cells are left out.

    Returns
    -------
    pandas.DataFrame
        One row per culture that occurs, true or predicted: ``fields``, ``true`` (mean fraction),
        ``bias`` (mean of predicted minus true) with ``bias_low``, ``bias_high`` (95 % confidence
        interval), and ``low``, ``high``: limits between which the difference lies in 95 % of
        fields. NaN with fewer than `LEAST_FIELDS` fields.
    """
    table = table[(table["cells"] >= least_cells) & (table["predicted_cells"] > 0)]
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


def corrected_composition(counts, val, replicates=200, seed=0) -> pd.DataFrame:
    """Composition of a whole set: true, predicted and corrected, with intervals.

    Parameters
    ----------
    counts : Counts
        Of the set.
    val : Counts
        Of the validation set, on which the correction is learned; intervals resample it as well.
    replicates, seed : int

    Returns
    -------
    pandas.DataFrame
        One row per culture: ``cells``, ``true``, ``predicted``, ``corrected`` fractions, ``low``
        and ``high``: 95 % bootstrap interval of the corrected one over the images of both sets,
        conditional on their donors.
    """
    rng = np.random.default_rng(seed)
    n, true, predicted = (
        len(counts.confusion),
        counts.true.sum(axis=0),
        counts.predicted.sum(axis=0),
    )
    draws = []
    for _ in range(replicates):
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


def shift_mixes(
    counts, correction, mixes, cells=1000, fields=20, repeats=200, seed=0
) -> pd.DataFrame:
    """Predicted and corrected composition when the mix differs from the one trained on.

    The cells of a set are resampled by culture, each with what the model did to it; so are the
    false cells of its images.

    Parameters
    ----------
    counts : Counts
        Of a set other than the one that ``correction`` was learned on.
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
        One row per mix and culture: ``mix, culture, true, predicted, corrected`` (mean fractions)
        and ``predicted_error, corrected_error`` (root mean square differences from the truth); NaN
        where no cell was left to give a fraction.
    """
    rng = np.random.default_rng(seed)
    total = counts.confusion.sum(axis=0)
    tables = []
    for name, mix in mixes.items():
        share = _share([mix.get(culture, 0) for culture in counts.cultures])
        predicted, corrected = [], []
        for _ in range(repeats):
            named = np.zeros(len(share), int)
            for culture, n in enumerate(rng.multinomial(cells, share)):
                if n and not total[culture].any():
                    raise DeepMuCSError(
                        f"mix {name}: the set holds no {counts.cultures[culture]} to draw from; "
                        "take cultures that it holds."
                    )
                if n:
                    named += rng.multinomial(n, _share(total[culture]))[:-1]
            false = counts.confusion[rng.integers(len(counts.confusion), size=fields), -1, :-1]
            named += false.sum(axis=0)
            predicted.append(_share(named))
            corrected.append(_share(correction.apply(named, fields)))
        table = {"mix": name, "culture": counts.cultures, "true": share}
        for kind, drawn in (("predicted", predicted), ("corrected", corrected)):
            drawn = pd.DataFrame(drawn)  # its means leave NaN out
            table[kind] = drawn.mean()
            table[f"{kind}_error"] = ((drawn - share) ** 2).mean() ** 0.5
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)
