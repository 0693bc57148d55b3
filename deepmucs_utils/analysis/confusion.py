"""Which culture is taken for which, what is missed or false, and are the scores calibrated?"""

import numpy as np
import pandas as pd
from hotcoco import mask as rle

from deepmucs_utils.analysis.error_kinds import FOUND
from deepmucs_utils.evaluation.metrics import MIN_BIN

MISSED, FALSE = "missed", "false"


def confusion_by_image(ground_truth, kept, iou_type="segm"):
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
    names = sorted(category["id"] for category in ground_truth["categories"])
    index = {category: place for place, category in enumerate(names)}
    key = {"bbox": "bbox", "segm": "segmentation"}[iou_type]
    cells_of, found_of = _by_image(ground_truth["annotations"]), _by_image(kept)
    counts = np.zeros((len(ground_truth["images"]), len(names) + 1, len(names) + 1), int)
    for image, count in zip(ground_truth["images"], counts, strict=True):
        cells = cells_of.get(image["id"], [])
        found = sorted(found_of.get(image["id"], []), key=lambda record: -record["score"])
        crowd = [bool(cell.get("iscrowd")) for cell in cells]
        overlaps = np.zeros((len(found), len(cells)))
        if found and cells:
            masks = [record[key] for record in found], [cell[key] for cell in cells]
            overlaps = np.asarray(rle.iou(*masks, crowd))
        for record, taken in zip(found, _take(overlaps, np.array(crowd, bool)), strict=True):
            if taken < 0 or not crowd[taken]:
                true = len(names) if taken < 0 else index[cells[taken]["category_id"]]
                count[true, index[record["category_id"]]] += 1
        for cell in cells:
            if not cell.get("iscrowd"):
                count[index[cell["category_id"]], -1] += 1
        count[:-1, -1] -= count[:-1, :-1].sum(axis=1)
    return counts


def _take(overlaps, crowd):
    """Cell that each detection takes, -1 for none; a crowd region may be taken again and again."""
    free = np.ones(overlaps.shape[1], bool)
    taken = np.full(len(overlaps), -1)
    for row, overlap in enumerate(overlaps):
        for allowed in (free & ~crowd, crowd):
            possible = np.where(allowed, overlap, -1)
            if possible.size and possible.max() >= FOUND:
                taken[row] = possible.argmax()
                break
        if taken[row] >= 0:
            free[taken[row]] = False
    return taken


def _by_image(records):
    by_image = {}
    for record in records:
        by_image.setdefault(record["image_id"], []).append(record)
    return by_image


def confusion_matrix(ground_truth, kept, iou_type="segm"):
    """The set's confusion matrix: the sum of `confusion_by_image`, with names.

    Returns
    -------
    pandas.DataFrame of int
        Rows the true cultures and ``"false"``; columns the predicted ones and ``"missed"``. Row
        sums are the numbers of cells, column sums those of detections.
    """
    names = [c["name"] for c in sorted(ground_truth["categories"], key=lambda c: c["id"])]
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
