"""Table I of the paper: as printed, and computed from metrics, plain or with intervals."""

import math
from importlib.resources import files

import pandas as pd

from deepmucs_utils.evaluation.metrics import METRICS, blank_few

SIDES = {"Det.": "bbox", "Seg.": "segm"}
IMAGES = {"DeepMuCS800": 800, "DeepMuCS1600": 1600, "DeepMuCS4000": 4000}  # paper, section IV


def published_table_one() -> pd.DataFrame:
    """Table I of the paper: overall APs of the three training sets on LIVECell co-cultures.

    Returns
    -------
    pandas.DataFrame
        Percent, in the layout of `table_one`.
    """
    table = pd.read_csv(files(__package__) / "published_table1.csv")
    iou_types = {"detection": "bbox", "segmentation": "segm"}
    results = {name: {} for name in IMAGES}
    for row in table.to_dict("records"):
        numbers = {key: row[f"m{key}"] for key in METRICS}
        results[row["train_dataset"]][iou_types[row["task"]]] = numbers
    return table_one(results)


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
    return pd.DataFrame(
        {
            ("m" + key, side): {name: metrics[iou][key] for name, metrics in results.items()}
            for key in METRICS
            for side, iou in SIDES.items()
        }
    ).rename_axis("Train dataset")


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
    rows = {}
    for name, metrics in results.items():
        for side, iou_type in SIDES.items():
            values = blank_few(metrics[iou_type])
            rows[name, side] = {
                "m" + key: "" if math.isnan(values[key]) else _with_limits(values, key)
                for key in METRICS
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["Train dataset", "task"])


def _with_limits(values, key):
    low, high = values[f"{key} interval"]
    return f"{values[key]:.1f} [{low:.1f}, {high:.1f}]"
