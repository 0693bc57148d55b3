"""Every number of a model's metrics with its interval, in one go."""

import math

import numpy as np
import pandas as pd
from tqdm import tqdm

from deepmucs_utils.evaluation.matching import average_precision, match_classes, metric_rows
from deepmucs_utils.evaluation.metrics import AREA_RANGES, IOU_TYPES, METRICS, blank_few, evaluate
from deepmucs_utils.evaluation.records import read_ground_truth, read_predictions
from deepmucs_utils.evaluation.resampling import (
    blocks_with_cells,
    describe,
    draw_images,
    image_blocks,
    interval,
)


def evaluate_with_intervals(ground_truth, predictions, replicates=1000, seed=0, confidence=0.95):
    """Detection and segmentation metrics with bootstrap intervals over donor blocks.

    Parameters
    ----------
    ground_truth, predictions : str or Path
        See `metrics.evaluate`.
    replicates, seed, confidence
        See `bootstrap.bootstrap`, whose intervals these are.

    Returns
    -------
    dict
        As from `metrics.evaluate`. Beside each AP and AR stands ``"… interval"``, its two limits
        in percent, for the means over cultures and for each culture; and ``"intervals"`` says what
        they rest on: ``n_blocks``, ``replicates`` and ``note``. Limits are NaN where there is but
        one block or no cell.

    Notes
    -----
    Each area range is drawn on its own, so that no replicate loses a culture that has cells in it.
    """
    truth = read_ground_truth(ground_truth)
    records = read_predictions(predictions, truth)
    metrics = evaluate(ground_truth, predictions)
    blocks, by_image = image_blocks(truth, ground_truth)
    n_blocks = int(blocks.max()) + 1
    names = {category["id"]: category["name"] for category in truth["categories"]}
    most_drawn, held = replicates, None
    steps = [(iou_type, area) for iou_type in IOU_TYPES for area in AREA_RANGES]
    for iou_type, area in tqdm(steps, desc="bootstrap", disable=None):
        matches = {
            category: found
            for category, found in match_classes(truth, records, iou_type, area).items()
            if found.cells.any()
        }
        limits, drawn, held_here = _limits(matches, area, blocks, replicates, seed, confidence)
        most_drawn = max(most_drawn, drawn)
        held = held_here if area == "all" else held
        for metric, by_category in limits.items():
            key = f"{metric} interval"
            metrics[iou_type][key] = by_category.pop("all")
            for category, name in names.items():
                nothing = [np.nan, np.nan]
                metrics[iou_type]["per_class"][name][key] = by_category.get(category, nothing)
    note = describe(held, n_blocks, by_image, replicates, most_drawn, confidence)
    return metrics | {"intervals": {"n_blocks": n_blocks, "replicates": replicates, "note": note}}


def _limits(matches, area, blocks, replicates, seed, confidence):
    """Limits in percent of the metrics of one area range, by category and for ``"all"``; how many
    draws were made; in how many blocks each category has cells."""
    wanted = {name: metric_rows(name)[0] for name in METRICS if METRICS[name][1] == area}
    if area == "all":
        wanted["AR"] = slice(None)
    if not matches:
        return {name: {"all": [np.nan, np.nan]} for name in wanted}, 0, np.ones(1, int)
    cells = np.stack([found.cells for found in matches.values()])
    weights, drawn = draw_images(blocks, cells, replicates, seed)
    weights = np.vstack([np.ones_like(blocks), weights])
    values = {name: {} for name in wanted}
    for category, found in matches.items():
        precision, recall = average_precision(found, weights)
        for name, rows in wanted.items():
            curve = recall if name == "AR" else precision
            values[name][category] = 100 * curve[rows].mean(axis=0)
    for by_category in values.values():
        by_category["all"] = np.mean(list(by_category.values()), axis=0)
    held = blocks_with_cells(blocks, cells)
    held_by = dict(zip(matches, held.tolist(), strict=True))
    held_by["all"] = int(blocks.max()) + 1 if (held > 1).any() else 1
    limits = {
        name: {
            category: _pair(interval(numbers, held_by[category], confidence))
            for category, numbers in by_category.items()
        }
        for name, by_category in values.items()
    }
    return limits, drawn, held


def _pair(limits):
    return np.clip([limits["low"], limits["high"]], 0, 100).tolist()


def table_one_intervals(results):
    """Table I with intervals: a row a training set and task, so that each entry has room.

    Parameters
    ----------
    results : dict of str to dict
        From `evaluate_with_intervals`, by the name of the training set.

    Returns
    -------
    pandas.DataFrame of str
        ``"12.3 [8.1, 15.9]"`` in percent, columns ``mAP, mAP50, …``; empty where a number rests on
        fewer than `metrics.MIN_BIN` cells.
    """
    rows = {}
    for name, metrics in results.items():
        for side, iou_type in {"Det.": "bbox", "Seg.": "segm"}.items():
            values = blank_few(metrics[iou_type])
            rows[name, side] = {
                "m" + key: "" if math.isnan(values[key]) else _with_limits(values, key)
                for key in METRICS
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["Train dataset", "task"])


def _with_limits(values, key):
    low, high = values[f"{key} interval"]
    return f"{values[key]:.1f} [{low:.1f}, {high:.1f}]"
