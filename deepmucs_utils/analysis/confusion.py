"""Which culture is taken for which, what is missed or false, and are the scores calibrated?"""

import numpy as np
import pandas as pd

from deepmucs_utils.analysis.error_kinds import FOUND
from deepmucs_utils.evaluation.matching import overlaps
from deepmucs_utils.evaluation.metrics import MIN_BIN
from deepmucs_utils.evaluation.records import by_image, culture_names

MISSED, FALSE = "missed", "false"


def confusion_by_image(ground_truth, kept, iou_type="segm") -> np.ndarray:
    """Cells of each image by true and by predicted culture, with missed and false ones.

    Each detection, the highest score first, takes the cell that it overlaps most, whatever its
    culture, if the IoU is at least 0.5 and no other took it.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.
    kept : list of dict
        Detections that count, from `operating_point.confident`.
    iou_type : {"bbox", "segm"}

    Returns
    -------
    ndarray of int, shape (I, K + 1, K + 1)
        Images in the order of the ground truth. Rows the K true cultures by category id, then
        false detections; columns the predicted cultures, then missed cells. Crowd regions are
        neither missed nor does a detection on them count as false.
    """
    index = {category: place for place, category in enumerate(culture_names(ground_truth))}
    cells_of, found_of = by_image(ground_truth["annotations"]), by_image(kept)
    counts = np.zeros((len(ground_truth["images"]), len(index) + 1, len(index) + 1), int)
    for image, count in zip(ground_truth["images"], counts, strict=True):
        here = cells_of[image["id"]]
        cells = [cell for cell in here if not cell.get("iscrowd")]
        crowds = [cell for cell in here if cell.get("iscrowd")]
        found = sorted(found_of[image["id"]], key=lambda record: -record["score"])
        taken = _take(overlaps(found, cells, iou_type))
        ignored = (overlaps(found, crowds, iou_type, crowd=True) >= FOUND).any(axis=1)
        for record, cell, on_crowd in zip(found, taken, ignored, strict=True):
            if cell >= 0 or not on_crowd:
                true = index[cells[cell]["category_id"]] if cell >= 0 else -1
                count[true, index[record["category_id"]]] += 1
        for cell in cells:
            count[index[cell["category_id"]], -1] += 1
        count[:-1, -1] -= count[:-1, :-1].sum(axis=1)
    return counts


def _take(overlap):
    """Cell that each detection takes, -1 for none; no cell is taken twice."""
    left = overlap.copy()
    taken = np.full(len(left), -1)
    for row in range(len(left)):
        if left[row].max(initial=0) >= FOUND:
            taken[row] = left[row].argmax()
            left[:, taken[row]] = 0
    return taken


def confusion_matrix(ground_truth, kept, iou_type="segm") -> pd.DataFrame:
    """The set's confusion matrix: the sum of `confusion_by_image`, with names.

    Returns
    -------
    pandas.DataFrame of int
        Rows the true cultures and ``"false"``; columns the predicted ones and ``"missed"``. Row
        sums are the numbers of cells, column sums those of detections.
    """
    names = culture_names(ground_truth).values()
    return pd.DataFrame(
        confusion_by_image(ground_truth, kept, iou_type).sum(axis=0),
        pd.Index([*names, FALSE], name="true"),
        pd.Index([*names, MISSED], name="predicted"),
    )


def calibration(matched, iou_type="segm", bins=10) -> tuple[pd.DataFrame, float]:
    """Does a score of 0.8 mean that eight of ten such detections are right?

    Parameters
    ----------
    matched : Matched
        With all detections, without a threshold.
    iou_type : {"bbox", "segm"}
    bins : int
        Number of equally wide bins of the score; each holds its lower edge.

    Returns
    -------
    table : pandas.DataFrame
        One row per bin: ``low``, ``high``, ``n`` (detections), ``score`` (their mean) and
        ``right`` (share that found a cell of their culture at IoU 0.5). Score and share are NaN
        below `MIN_BIN` detections.
    error : float
        Expected calibration error: mean over detections of their bin's difference between score
        and share (Guo et al., ICML 2017), all bins counted; NaN without detections.
    """
    found = matched.evaluation(iou_type, ["all"]).calibration(bins, FOUND)
    names = {"bin_lower": "low", "bin_upper": "high", "count": "n"}
    names |= {"avg_confidence": "score", "avg_accuracy": "right"}
    table = pd.DataFrame(found["bins"])[list(names)].rename(columns=names)
    table.loc[table["n"] < MIN_BIN, ["score", "right"]] = np.nan
    return table, found["ece"] if found["num_detections"] else np.nan
