"""Average precision by COCO's protocol with LIVECell's settings: what Table I of the paper holds.

A prediction is right when it has the class of a cell and overlaps it enough. AP is the area under
the precision-recall curve, averaged over ten overlaps (IoU 0.50 to 0.95) and over the cultures
that occur. The counting is hotcoco's, which gives pycocotools' numbers in a fraction of the time.
"""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
from hotcoco import COCO, COCOeval

from deepmucs_utils.data.cultures import LABELS
from deepmucs_utils.data.livecell import AREA_LIMITS
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.records import read_ground_truth, read_predictions
from deepmucs_utils.files import write_text

IOU_TYPES = ("bbox", "segm")
SMALL, LARGE = AREA_LIMITS
#: Areas in square pixels, by LIVECell's limits, where COCO has 32**2 and 96**2. As in COCO both
#: ends belong to a range, so a cell of exactly 324 px² counts as small and as medium.
AREA_RANGES = {
    "all": (0, 1e10),
    "small": (0, SMALL),
    "medium": (SMALL, LARGE),
    "large": (LARGE, 1e10),
}
#: Most detections an image; fields hold up to 3,000 cells, and COCO's own limit is 100. Every
#: number here is read at the last one.
MAX_DETECTIONS = (100, 500, 2000)
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


def load_pair(ground_truth, predictions, iou_type):
    """Cells and detections as hotcoco's data sets.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.
    predictions : list of dict
        From `read_predictions`.
    iou_type : {"bbox", "segm"}
        Whether overlap is to be that of boxes or of masks.

    Returns
    -------
    cells, detections : hotcoco.COCO

    Notes
    -----
    A detection without a partner is left out of an area range that its own area is not in. That
    area is the mask's for ``"segm"`` (as detectron2 does it; pycocotools would take the box's if a
    record has both) and the box's for ``"bbox"``. A cell's area is always its mask's, therefore a
    false box on a small cell can count as large, and APl is lower for boxes than for masks.
    """
    unused = {"bbox": "segmentation", "segm": "bbox"}[iou_type]
    cells = COCO(ground_truth)
    return cells, cells.load_res(
        [{key: record[key] for key in record if key != unused} for record in predictions]
    )


def match(cells, detections, iou_type, areas=tuple(AREA_RANGES), pooled=False):
    """Match detections to cells, image by image, at each overlap.

    Parameters
    ----------
    cells, detections : hotcoco.COCO
        From `load_pair`.
    iou_type : {"bbox", "segm"}
    areas : sequence of str
        Keys of `AREA_RANGES`.
    pooled : bool
        Take all cultures for one class: is there a cell, whichever it be?

    Returns
    -------
    hotcoco.COCOeval
        Evaluated, not accumulated.
    """
    evaluation = COCOeval(cells, detections, iou_type)
    evaluation.params.max_dets = list(MAX_DETECTIONS)
    evaluation.params.area_rng = [list(AREA_RANGES[name]) for name in areas]
    evaluation.params.area_rng_lbl = list(areas)
    evaluation.params.use_cats = not pooled
    evaluation.evaluate()
    return evaluation


def evaluate(ground_truth, predictions):
    """Detection and segmentation metrics of one model on one set.

    Parameters
    ----------
    ground_truth : str or Path
        COCO json of the set.
    predictions : str or Path
        COCO results list with boxes, scores and RLE masks.

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

    Raises
    ------
    DeepMuCSError
        If a file cannot be read or a record makes no sense.
    """
    truth = read_ground_truth(ground_truth)
    records = read_predictions(predictions, truth)
    counted = [annotation for annotation in truth["annotations"] if not annotation.get("iscrowd")]
    metrics = {"n_images": len(truth["images"]), "n_cells": len(counted), "pooled": {}}
    for iou_type in IOU_TYPES:
        pair = load_pair(truth, records, iou_type)
        precision, recall = _curves(match(*pair, iou_type))
        everything = _count(counted)
        metrics[iou_type] = everything | _summary(precision, recall)
        metrics[iou_type]["per_class"] = {
            category["name"]: _count([c for c in counted if c["category_id"] == category["id"]])
            | _summary(precision[:, :, [index]], recall[:, [index]])
            for index, category in enumerate(sorted(truth["categories"], key=lambda c: c["id"]))
        }
        pooled = _summary(*_curves(match(*pair, iou_type, pooled=True)))
        metrics["pooled"][iou_type] = everything | pooled
    return metrics


def _curves(evaluation):
    """Precision (IoU, recall, class, area) and recall (IoU, class, area); NaN without cells."""
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[..., -1]
    recall = np.asarray(evaluation.eval["recall"])[..., -1]
    return np.where(precision < 0, np.nan, precision), np.where(recall < 0, np.nan, recall)


def _summary(precision, recall):
    summary = {}
    for name, (overlap, area) in METRICS.items():
        values = precision[..., list(AREA_RANGES).index(area)]
        if overlap is not None:
            values = values[round((overlap - 0.5) / 0.05)]
        summary[name] = _percent(values)
    summary["AR"] = _percent(recall[..., 0])
    return summary


def _percent(values):
    known = values[~np.isnan(values)]
    return 100 * float(known.mean()) if known.size else math.nan


def _count(cells):
    areas = np.array([cell["area"] for cell in cells])
    count = {"n": areas.size}
    for name in ("small", "medium", "large"):
        low, high = AREA_RANGES[name]
        count[f"n{name[0]}"] = int(((areas >= low) & (areas <= high)).sum())
    return count


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

    def too_few(key):
        area = METRICS.get(key.removesuffix(" interval"), (None, "all"))[1]
        short = area != "all" and values["n" + area[0]] < min_bin
        return values["n"] < min_cells or short

    names = {name + end for name in (*METRICS, "AR") for end in ("", " interval")}
    blank = {
        key: [math.nan, math.nan] if isinstance(value, list) else math.nan
        for key, value in values.items()
        if key in names and too_few(key)
    }
    return values | blank


def _blank_all(metrics):
    """`blank_few` for a whole set: the means by area range, the cultures also by their cells."""
    blanked = dict(metrics)
    for iou_type in IOU_TYPES:
        blanked[iou_type] = blank_few(metrics[iou_type])
        blanked[iou_type]["per_class"] = {
            name: blank_few(values, MIN_CELLS)
            for name, values in metrics[iou_type]["per_class"].items()
        }
    pooled = {iou_type: blank_few(metrics["pooled"][iou_type]) for iou_type in IOU_TYPES}
    return blanked | {"pooled": pooled}


def write_metrics(metrics, out_dir):
    """Write ``metrics.json`` with full precision, NaN as null.

    A culture's number that rests on fewer than `MIN_CELLS` cells, and any that rests on fewer than
    `MIN_BIN` cells of its area range, is null as well.

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
    content = _replace(_blank_all(metrics), _is_nan, None)
    write_text(path, json.dumps(content, indent=2) + "\n")
    return path


def read_metrics(path):
    """Read ``metrics.json`` back, null as NaN.

    Parameters
    ----------
    path : str or Path
        The file, or the folder that holds it.

    Returns
    -------
    dict
        As `evaluate` returns it.

    Raises
    ------
    DeepMuCSError
        If there is no such file.
    """
    path = Path(path)
    path = path / "metrics.json" if path.is_dir() else path
    if not path.is_file():
        raise DeepMuCSError(f"{path}: no such file; `deepmucs evaluate` writes it.")
    content = json.loads(path.read_text(encoding="utf-8"))
    return with_nan(content)


def with_nan(metrics):
    """Metrics as JSON holds them, with NaN for null."""
    return _replace(metrics, lambda value: value is None, math.nan)


def _is_nan(value):
    return isinstance(value, float) and math.isnan(value)


def _replace(tree, condition, replacement):
    if isinstance(tree, dict):
        return {key: _replace(value, condition, replacement) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_replace(value, condition, replacement) for value in tree]
    return replacement if condition(tree) else tree


def table_one(results):
    """The paper's Table I: one row a training set, detection and segmentation side by side.

    Parameters
    ----------
    results : dict of str to dict
        Metrics, as `evaluate` returns them, by the name of the training set.

    Returns
    -------
    pandas.DataFrame
        Percent; columns (mAP, Det.), (mAP, Seg.), (mAP50, Det.), … as in the paper.
    """
    sides = {"Det.": "bbox", "Seg.": "segm"}
    return pd.DataFrame(
        {
            ("m" + key, side): {name: metrics[iou][key] for name, metrics in results.items()}
            for key in METRICS
            for side, iou in sides.items()
        }
    ).rename_axis("Train dataset")


def per_class_table(metrics, iou_type="segm", min_cells=MIN_CELLS, min_bin=MIN_BIN):
    """AP by culture with the number of cells that each number stands on.

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
        One row a culture (its name in print); columns n, AP, AP50, AP75, AR, then ns, APs, nm,
        APm, nl, APl.
    """
    rows = {
        LABELS.get(name, name): blank_few(values, min_cells, min_bin)
        for name, values in metrics[iou_type]["per_class"].items()
    }
    columns = ["n", "AP", "AP50", "AP75", "AR", "ns", "APs", "nm", "APm", "nl", "APl"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("culture")
