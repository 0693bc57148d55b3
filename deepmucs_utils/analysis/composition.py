"""What share of the cells is of each culture, and how far off is the predicted share?"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from deepmucs_utils.analysis.confusion import confusion_by_image

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
    def true(self):
        """True cells of each image and culture; int, shape (I, K)."""
        return self.confusion[:, :-1].sum(axis=2)

    @property
    def predicted(self):
        """Predicted cells of each image and culture; int, shape (I, K)."""
        return self.confusion[:, :, :-1].sum(axis=1)


def count(ground_truth, kept, iou_type="segm"):
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
    names = [c["name"] for c in sorted(ground_truth["categories"], key=lambda c: c["id"])]
    return Counts(tuple(names), confusion_by_image(ground_truth, kept, iou_type))


def fractions(counts):
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
    true, predicted = counts.true, counts.predicted
    images, cultures = true.shape
    with np.errstate(invalid="ignore"):
        return pd.DataFrame(
            {
                "image": np.repeat(np.arange(images), cultures),
                "culture": np.tile(counts.cultures, images),
                "cells": np.repeat(true.sum(axis=1), cultures),
                "predicted_cells": np.repeat(predicted.sum(axis=1), cultures),
                "true": (true / true.sum(axis=1, keepdims=True)).ravel(),
                "predicted": (predicted / predicted.sum(axis=1, keepdims=True)).ravel(),
            }
        )


def agreement(table, least_cells=LEAST_CELLS):
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
        One row a culture that occurs, true or predicted: ``fields``, ``true`` (mean fraction),
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
