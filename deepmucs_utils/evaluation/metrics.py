"""Average precision by COCO's protocol with LIVECell's settings: what Table I of the paper holds.

A prediction is right when it has the class of a cell and overlaps it enough. AP is the area under
the precision-recall curve, averaged over ten overlaps (IoU 0.50 to 0.95) and over the cultures
that occur.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from deepmucs_utils.data.cultures import LABELS
from deepmucs_utils.evaluation.matching import AREA_RANGES, IOU_TYPES
from deepmucs_utils.evaluation.records import culture_names
from deepmucs_utils.files import write_json


class Metric(NamedTuple):
    """What a number is the mean of.

    Parameters
    ----------
    rows : slice
        Rows of `OVERLAPS`: all, or that of an IoU of 0.50 (0) or 0.75 (5).
    area : str
        A key of `AREA_RANGES`.
    count : str
        Key of the number of cells that it rests on.
    """

    rows: slice
    area: str
    count: str


#: The APs of the paper's Table I, by name.
METRICS = {
    "AP": Metric(slice(None), "all", "n"),
    "AP50": Metric(slice(0, 1), "all", "n"),
    "AP75": Metric(slice(5, 6), "all", "n"),
    "APs": Metric(slice(None), "small", "ns"),
    "APm": Metric(slice(None), "medium", "nm"),
    "APl": Metric(slice(None), "large", "nl"),
}
#: These and the average recall.
NUMBERS = METRICS | {"AR": Metric(slice(None), "all", "n")}
#: A number is left out where it rests on fewer cells of a culture, or of an area range: with 30
#: cells, one cell more or less moves an AP by three points.
MIN_CELLS, MIN_BIN = 30, 20


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
        table = _by_culture(matched, iou_type)
        per_class = {
            name: _count(counted["area"][counted["culture"] == name]) | values
            for name, values in table.to_dict("index").items()
        }
        metrics[iou_type] = everything | table.mean().to_dict() | {"per_class": per_class}
        pooled = _by_culture(matched.pooled, iou_type).mean().to_dict()
        metrics["pooled"][iou_type] = everything | pooled
    return metrics


def _by_culture(matched, iou_type):
    """Each number in percent (column) for each culture (row); NaN without cells."""
    evaluation = matched.evaluation(iou_type)
    evaluation.accumulate()
    recall = np.asarray(evaluation.eval["recall"])[..., -1]  # overlap, culture, area range
    precision = np.asarray(evaluation.eval["precision"])[..., -1].mean(axis=1)
    areas, values = list(AREA_RANGES), {}
    for name, (rows, area, _) in NUMBERS.items():
        source = recall if name == "AR" else precision
        values[name] = 100 * source[rows, :, areas.index(area)].mean(axis=0)
    table = pd.DataFrame(values, list(culture_names(matched.truth).values()))
    return table.where(table >= 0)  # -1 without cells


def _count(areas):
    """Number of cells, overall and in each area range."""
    return {
        metric.count: int(areas.between(*AREA_RANGES[metric.area]).sum())
        for metric in METRICS.values()
    }


def blank_few(values, min_cells=0) -> dict:
    """Replace by NaN what rests on too few cells.

    Parameters
    ----------
    values : dict
        Numbers by name, those of cells (``n``, ``ns``, ``nm``, ``nl``) among them; an interval is
        a list of two.
    min_cells : int
        Least number of cells; that of an area range is `MIN_BIN`.

    Returns
    -------
    dict
    """
    blanked = dict(values)
    for name, metric in NUMBERS.items():
        few = metric.area != "all" and values[metric.count] < MIN_BIN
        if few or values["n"] < min_cells:
            blanked[name] = np.nan
            if f"{name} interval" in values:
                blanked[f"{name} interval"] = [np.nan, np.nan]
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
    return np.nan if metrics is None else metrics


def per_class_table(metrics) -> pd.DataFrame:
    """Segmentation AP by culture with the number of cells that each number rests on.

    Parameters
    ----------
    metrics : dict
        From `evaluate`.

    Returns
    -------
    pandas.DataFrame
        One row per culture (its name in print); columns n, AP, AP50, AP75, AR, then ns, APs, nm,
        APm, nl, APl. NaN by the rule of `reportable`.
    """
    rows = {
        LABELS.get(name, name): values
        for name, values in reportable(metrics)["segm"]["per_class"].items()
    }
    columns = ["n", "AP", "AP50", "AP75", "AR", "ns", "APs", "nm", "APm", "nl", "APl"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("culture")
