"""Average precision by COCO's protocol with LIVECell's settings: what Table I of the paper holds.

A prediction is right when it has the class of a cell and overlaps it enough. AP is the area under
the precision-recall curve, averaged over ten overlaps (IoU 0.50 to 0.95) and over the cultures
that occur.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from deepmucs_utils.data.cultures import LABELS
from deepmucs_utils.evaluation.matching import AREA_RANGES, IOU_TYPES, OVERLAPS
from deepmucs_utils.evaluation.records import culture_names
from deepmucs_utils.files import write_json

#: Name of each AP: the overlap (None: the mean of 0.50, 0.55, … 0.95) and the area range.
METRICS = {
    "AP": (None, "all"),
    "AP50": (0.50, "all"),
    "AP75": (0.75, "all"),
    "APs": (None, "small"),
    "APm": (None, "medium"),
    "APl": (None, "large"),
}
#: A number is left out where it rests on fewer cells of a culture, or of an area range: with 30
#: cells, one cell more or less moves an AP by three points.
MIN_CELLS, MIN_BIN = 30, 20


def metric_rows(metric):
    """Rows of `OVERLAPS` that a metric is the mean of, and its area range.

    Parameters
    ----------
    metric : str
        A key of `METRICS`, or ``"AR"``.

    Returns
    -------
    rows : slice
    area : str
    """
    overlap, area = METRICS.get(metric, (None, "all"))
    if overlap is None:
        return slice(None), area
    row = int(np.argmin(np.abs(OVERLAPS - overlap)))
    return slice(row, row + 1), area


def count_key(metric) -> str:
    """Key of the number of cells that a metric rests on: ``n``, or ``ns, nm, nl`` of a range."""
    area = metric_rows(metric)[1]
    return "n" if area == "all" else f"n{area[0]}"


def evaluate(matched) -> dict:
    """Detection and segmentation metrics of one model on one set.

    Parameters
    ----------
    matched : Matched
        From `matching.match_files`, or ``Matched(truth, records)``.

    Returns
    -------
    dict
        ``{"bbox": …, "segm": …, "pooled": {"bbox": …, "segm": …}, "n_images", "n_cells"}``. Each
        of the four holds the keys of `METRICS` and ``"AR"`` (recall, mean over the overlaps), in
        percent, with ``"n"``, the number of cells, and ``"ns"``, ``"nm"``, ``"nl"``, those of each
        area range; ``"bbox"`` and ``"segm"`` also ``"per_class"``, by culture. Means are over the
        cultures that have cells (in that range); NaN where there is none. ``"pooled"`` takes
        all cultures for one class, and is what compares with LIVECell's published numbers. Regions
        marked ``iscrowd`` are neither found nor missed, and not counted.
    """
    counted = matched.cells[~matched.cells["crowd"]]
    everything = _count(counted["area"])
    metrics = {"n_images": len(matched.truth["images"]), "n_cells": len(counted), "pooled": {}}
    for iou_type in IOU_TYPES:
        precision, recall = _curves(matched.evaluation(iou_type))
        metrics[iou_type] = everything | _summary(precision, recall)
        metrics[iou_type]["per_class"] = {
            name: _count(counted["area"][counted["culture"] == name])
            | _summary(precision[:, :, [index]], recall[:, [index]])
            for index, name in enumerate(culture_names(matched.truth).values())
        }
        pooled = _summary(*_curves(matched.pooled.evaluation(iou_type)))
        metrics["pooled"][iou_type] = everything | pooled
    return metrics


def _curves(evaluation):
    """Precision (IoU, recall, class, area) and recall (IoU, class, area); NaN without cells."""
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[..., -1]
    recall = np.asarray(evaluation.eval["recall"])[..., -1]
    return np.where(precision < 0, np.nan, precision), np.where(recall < 0, np.nan, recall)


def _summary(precision, recall):
    """Each metric in percent."""
    summary = {}
    for name in METRICS:
        rows, area = metric_rows(name)
        summary[name] = _percent(precision[rows, ..., list(AREA_RANGES).index(area)])
    return summary | {"AR": _percent(recall[..., 0])}


def _percent(values):
    known = values[~np.isnan(values)]
    return 100 * float(known.mean()) if known.size else math.nan


def _count(areas):
    """Number of cells, overall and in each area range."""
    ranges = {name[0]: AREA_RANGES[name] for name in ("small", "medium", "large")}
    counts = {f"n{key}": int(areas.between(*limits).sum()) for key, limits in ranges.items()}
    return {"n": len(areas)} | counts


def blank_few(values, min_cells=0, min_bin=MIN_BIN):
    """Replace by NaN what rests on too few cells.

    Parameters
    ----------
    values : dict
        Numbers by name, those of cells (``n``, ``ns``, ``nm``, ``nl``) among them; an interval is
        a list of two.
    min_cells, min_bin : int
        Least number of cells, and of cells in an area range.

    Returns
    -------
    dict
    """

    blanked = dict(values)
    for name in (*METRICS, "AR"):
        key = count_key(name)
        if values["n"] < min_cells or (key != "n" and values[key] < min_bin):
            blanked[name] = math.nan
            if f"{name} interval" in values:
                blanked[f"{name} interval"] = [math.nan, math.nan]
    return blanked


def reportable(metrics):
    """Metrics without the numbers that rest on too few cells: what is written and compared.

    A culture's number that rests on fewer than `MIN_CELLS` cells, and any that rests on fewer than
    `MIN_BIN` cells of its area range, is NaN.
    """
    blanked = dict(metrics)
    for iou_type in IOU_TYPES:
        blanked[iou_type] = blank_few(metrics[iou_type])
        blanked[iou_type]["per_class"] = {
            name: blank_few(values, MIN_CELLS)
            for name, values in metrics[iou_type]["per_class"].items()
        }
    pooled = {iou_type: blank_few(metrics["pooled"][iou_type]) for iou_type in IOU_TYPES}
    return blanked | {"pooled": pooled}


def write_metrics(metrics, out_dir) -> Path:
    """Write `reportable` metrics as ``metrics.json``, with full precision, NaN as null.

    Parameters
    ----------
    metrics : dict
        From `evaluate` or `intervals.evaluate_with_intervals`.
    out_dir : str or Path
        Folder, made if missing.

    Returns
    -------
    Path
        The file, complete as soon as it has its name.
    """
    path = Path(out_dir) / "metrics.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, reportable(metrics))
    return path


def with_nan(metrics):
    """Metrics as JSON holds them, with NaN for null."""
    if isinstance(metrics, dict):
        return {key: with_nan(value) for key, value in metrics.items()}
    if isinstance(metrics, list):
        return [with_nan(value) for value in metrics]
    return math.nan if metrics is None else metrics


def per_class_table(metrics, iou_type="segm", min_cells=MIN_CELLS, min_bin=MIN_BIN) -> pd.DataFrame:
    """AP by culture with the number of cells that each number rests on.

    Parameters
    ----------
    metrics : dict
        From `evaluate`.
    iou_type : {"bbox", "segm"}
    min_cells, min_bin : int
        See `blank_few`.

    Returns
    -------
    pandas.DataFrame
        One row per culture (its name in print); columns n, AP, AP50, AP75, AR, then ns, APs, nm,
        APm, nl, APl.
    """
    rows = {
        LABELS.get(name, name): blank_few(values, min_cells, min_bin)
        for name, values in metrics[iou_type]["per_class"].items()
    }
    columns = ["n", "AP", "AP50", "AP75", "AR", "ns", "APs", "nm", "APm", "nl", "APl"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("culture")
