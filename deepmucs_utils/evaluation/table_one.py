"""Table I of the paper: as printed, and computed from metrics, plain or with intervals."""

import math
from importlib.resources import files

import pandas as pd

from deepmucs_utils.evaluation.metrics import METRICS, blank_few

IMAGES = {"DeepMuCS800": 800, "DeepMuCS1600": 1600, "DeepMuCS4000": 4000}  # paper, section IV
_TASKS = {"bbox": "Det.", "segm": "Seg."}
_INDEX = ["Train dataset", "task"]


def published_table_one() -> pd.DataFrame:
    """Table I of the paper: overall APs of the three training sets on LIVECell co-cultures.

    Returns
    -------
    pandas.DataFrame
        Percent, in the layout of `table_one`.
    """
    table = pd.read_csv(files(__package__) / "published_table1.csv")
    return _side_by_side(table.set_index(_INDEX))


def table_one(results) -> pd.DataFrame:
    """The paper's Table I: one row per training set, detection and segmentation side by side.

    Parameters
    ----------
    results : dict of str to dict
        From `metrics.evaluate`, by the name of the training set.

    Returns
    -------
    pandas.DataFrame
        Percent; columns (mAP, Det.), (mAP, Seg.), (mAP50, Det.), … as in the paper.
    """
    return _side_by_side(_rows(results, lambda metrics, key: metrics[key]))


def table_one_intervals(results) -> pd.DataFrame:
    """Table I with intervals: one row per training set and task, so that each entry has room.

    Parameters
    ----------
    results : dict of str to dict
        From `intervals.evaluate_with_intervals`, by the name of the training set.

    Returns
    -------
    pandas.DataFrame of str
        ``"12.3 [8.1, 15.9]"`` in percent, columns ``mAP, mAP50, …``; empty where a number rests on
        fewer than `metrics.MIN_BIN` cells.
    """
    return _rows(results, _with_limits)


def _rows(results, entry):
    """One row per training set and task."""
    rows = {
        (name, task): {f"m{key}": entry(metrics[iou_type], key) for key in METRICS}
        for name, metrics in results.items()
        for iou_type, task in _TASKS.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(_INDEX)


def _side_by_side(rows):
    return rows.unstack(sort=False).rename_axis(columns=[None, None])


def _with_limits(metrics, key):
    values = blank_few(metrics)
    low, high = values[f"{key} interval"]
    return "" if math.isnan(values[key]) else f"{values[key]:.1f} [{low:.1f}, {high:.1f}]"
