"""The images of a set one by one: AP50 of each, its dominant error in words, and which to show.

The paper's Fig. 3 shows four images with "the segmentation average precision at IoU 0.5" above
each. Here every image has that number, and those that are shown are chosen by a rule.
"""

import numpy as np
import pandas as pd

from deepmucs_utils.analysis.error_kinds import ERRORS, label_errors
from deepmucs_utils.analysis.operating_point import confident
from deepmucs_utils.data.cultures import LABELS
from deepmucs_utils.evaluation.matching import RECALLS, match_classes

LEAST_CELLS = 8  # of an image to be shown: with fewer, one cell decides


def image_ap50(ground_truth, predictions, iou_type="segm"):
    """AP50 of each image by itself, the mean over the cultures that it holds.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.
    predictions : list of dict
        From `read_predictions`.
    iou_type : {"bbox", "segm"}

    Returns
    -------
    ndarray of float, shape (I,)
        Percent, images in the order of the ground truth; NaN for an image without cells.
    """
    n_images = len(ground_truth["images"])
    total, cultures = np.zeros(n_images), np.zeros(n_images, int)
    for matches in match_classes(ground_truth, predictions, iou_type).values():
        cultures += matches.cells > 0
        order = np.argsort(matches.image, kind="stable")  # within an image still by score
        order = order[matches.counted[0, order]]
        starts = np.searchsorted(matches.image[order], np.arange(n_images + 1))
        hits = matches.hit[0, order]
        for image in np.flatnonzero(matches.cells):
            part = hits[starts[image] : starts[image + 1]]
            true = np.cumsum(part)[part]
            precision = true / (np.flatnonzero(part) + 1)
            best = np.maximum.accumulate(precision[::-1])[::-1]
            reached = np.searchsorted(RECALLS, true / matches.cells[image], side="right")
            total[image] += (np.diff(reached, prepend=0) * best).sum() / RECALLS.size
    with np.errstate(invalid="ignore"):
        return 100 * total / cultures


def image_table(ground_truth, predictions, threshold, iou_type="segm"):
    """What happened in each image.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.
    predictions : list of dict
        From `read_predictions`.
    threshold : float
        Errors are those of the detections that `operating_point.confident` keeps; AP50 is that of
        all detections.
    iou_type : {"bbox", "segm"}

    Returns
    -------
    pandas.DataFrame
        One row an image, in the order of the ground truth: ``image_id``, ``file_name``, ``cells``,
        ``cultures`` (how many it holds), ``AP50`` (percent), the number of each of `ERRORS`,
        ``dominant`` (the most frequent error, the first of them if several are; empty for none)
        and ``words``.
    """
    kept = confident(predictions, threshold)
    labelled = label_errors(ground_truth, kept, iou_type)
    cells, detections = labelled.cells, labelled.detections
    wrong = detections[detections["counted"] & (detections["error"] != "")]
    missed = cells[cells["error"] == "missed"]
    images = ground_truth["images"]
    counts = pd.DataFrame(
        {
            error: np.bincount(table["image"][table["error"] == error], minlength=len(images))
            for error in ERRORS
            for table in [missed if error == "missed" else wrong]
        }
    )
    by_image = cells.groupby("image")["culture"]
    dominant = np.where(counts.any(axis=1), counts.to_numpy().argmax(axis=1), -1)
    wrong_of, missed_of = dict(iter(wrong.groupby("image"))), dict(iter(missed.groupby("image")))
    n_cells = by_image.size().reindex(range(len(images)), fill_value=0)
    words = []
    for image, kind in enumerate(dominant):
        if kind < 0:
            words.append(_all_right(n_cells[image]))
            continue
        faulty = (missed_of if ERRORS[kind] == "missed" else wrong_of)[image]
        faulty = faulty[faulty["error"] == ERRORS[kind]]
        words.append(_describe(ERRORS[kind], faulty, n_cells[image], cells))
    return pd.DataFrame(
        {
            "image_id": [image["id"] for image in images],
            "file_name": [image.get("file_name", str(image["id"])) for image in images],
            "cells": n_cells.to_numpy(),
            "cultures": by_image.nunique().reindex(range(len(images)), fill_value=0).to_numpy(),
            "AP50": image_ap50(ground_truth, predictions, iou_type),
        }
        | {error: counts[error].to_numpy() for error in ERRORS}
        | {"dominant": [ERRORS[kind] if kind >= 0 else "" for kind in dominant], "words": words}
    )


def _all_right(n):
    return "no cells, none predicted" if n == 0 else f"all {n} cells right"


def _describe(error, faulty, n_cells, cells):
    """One sentence without a full stop on the images' most frequent error."""
    n, of = len(faulty), f"of {n_cells} cells"
    if error == "missed":
        return f"missed: {n} {of} ({_list(faulty['culture'])})"
    if error == "class":
        true = cells["culture"].to_numpy()[faulty["cell"]]
        pairs = [
            f"{LABELS.get(was, was)} taken for {LABELS.get(named, named)}"
            for was, named in zip(true, faulty["culture"], strict=True)
        ]
        return f"class: {n} {of} got the wrong name ({_list(pairs)})"
    what = {
        "localisation": "outline{s} overlap{v} a cell of the right culture by less than half",
        "both": "detection{s} with wrong culture and wrong outline",
        "duplicate": "cell{s} found twice",
        "background": "detection{s} where there is no cell",
    }[error].format(s="" if n == 1 else "s", v="s" if n == 1 else "")
    return f"{error}: {n} {what} ({_list(faulty['culture'])})"


def _list(names):
    counts = pd.Series([LABELS.get(name, name) for name in names]).value_counts(sort=False)
    counts = counts.sort_values(ascending=False, kind="stable")
    if len(counts) == 1:
        return counts.index[0]
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def choose(table, n, least_cells=LEAST_CELLS):
    """Choose adequate and inadequate images by rule: the best and the worst AP50.

    Of the images with at least ``least_cells`` cells (of all, where fewer than twice ``n`` have
    that many), the ``n`` with the highest AP50 and the ``n`` with the lowest; among equal ones
    those with more cultures, then more cells, then the lower id.

    Parameters
    ----------
    table : pandas.DataFrame
        From `image_table`.
    n : int
    least_cells : int

    Returns
    -------
    adequate, inadequate : pandas.DataFrame
        Rows of the table; the inadequate ones from the worst on.
    """
    known = table.dropna(subset="AP50")
    large = known[known["cells"] >= least_cells]
    known = large if len(large) >= 2 * n else known
    keys, rising = ["AP50", "cultures", "cells", "image_id"], [False, False, False, True]
    adequate = known.sort_values(keys, ascending=rising).head(n)
    rest = known.drop(adequate.index)
    return adequate, rest.sort_values(keys, ascending=[True, *rising[1:]]).head(n)
