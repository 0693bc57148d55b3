"""Which detection found which cell: the one matching that all the analyses share.

COCO's protocol matches within a culture, the surest detection first. The counting is hotcoco's;
here its answer is laid out as arrays, a culture at a time, so that precision, recall and what they
depend on are a few sums away.
"""

from dataclasses import dataclass

import numpy as np

from deepmucs_utils.evaluation.metrics import METRICS, load_pair, match

OVERLAPS = np.arange(50, 100, 5) / 100
RECALLS = np.linspace(0, 1, 101)  # where COCO reads the precision
_CHUNK = 4_000_000  # detections times replicates that are in memory at once


@dataclass(frozen=True)
class ClassMatches:
    """The detections of one culture in falling order of score, and which of them found a cell.

    Parameters
    ----------
    image : ndarray of int, shape (D,)
        Index of each detection's image.
    hit, counted : ndarray of bool, shape (T, D)
        At each of T overlaps: whether it found a cell; whether it counts at all (crowd regions and
        what lies outside the area range do not).
    cells : ndarray of int, shape (I,)
        Cells to be found in each of the I images.
    record : ndarray of int, shape (D,), optional
        Each detection's place in the results list.
    cell : ndarray of int, shape (T, D), optional
        Place of the cell that it found in the list of annotations, -1 for none.
    score : ndarray of float, shape (D,), optional
    """

    image: np.ndarray
    hit: np.ndarray
    counted: np.ndarray
    cells: np.ndarray
    record: np.ndarray | None = None
    cell: np.ndarray | None = None
    score: np.ndarray | None = None


def match_classes(ground_truth, predictions, iou_type="segm", area="all"):
    """Match one model's detections and put each culture's in falling order of score.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.
    predictions : list of dict
        From `read_predictions`.
    iou_type : {"bbox", "segm"}
    area : str
        A key of `AREA_RANGES`.

    Returns
    -------
    dict of int to ClassMatches
        By category id, in rising order; images in the order of the ground truth, overlaps as in
        `OVERLAPS`.
    """
    evaluation = match(*load_pair(ground_truth, predictions, iou_type), iou_type, areas=[area])
    position = {image["id"]: index for index, image in enumerate(ground_truth["images"])}
    entries = {category["id"]: [] for category in ground_truth["categories"]}
    for entry in evaluation.eval_imgs:
        if entry is not None:
            entries[entry["category_id"]].append(entry)
    return {category: _arrange(entries[category], position) for category in sorted(entries)}


def _arrange(entries, position):
    """Arrays of one culture from hotcoco's record of each image."""
    cells = np.zeros(len(position), int)
    empty = np.empty((3, OVERLAPS.size, 0), int)
    parts = [(np.empty(0), np.empty(0, int), np.empty(0, int), empty)]
    for entry in entries:
        index = position[entry["image_id"]]
        cells[index] = np.sum(np.asarray(entry["gtIgnore"]) == 0)
        score = np.asarray(entry["dtScores"], float)
        by_overlap = np.array([entry["dtMatched"], entry["dtIgnore"], entry["dtMatches"]], int)
        by_overlap = by_overlap.reshape(3, OVERLAPS.size, score.size)
        record = np.asarray(entry["dtIds"], int) - 1  # both lists are numbered from 1
        parts.append((score, np.full(score.size, index), record, by_overlap))
    score, image, record, by_overlap = (
        np.concatenate(part, axis=-1) for part in zip(*parts, strict=True)
    )
    order = np.argsort(-score, kind="stable")
    found, ignored, cell = by_overlap[:, :, order]
    counted = ignored == 0
    hit = (found > 0) & counted
    return ClassMatches(
        image[order], hit, counted, cells, record[order], np.where(hit, cell - 1, -1), score[order]
    )


def metric_rows(metric):
    """Rows of `OVERLAPS` that a metric is the mean of, and its area range.

    Parameters
    ----------
    metric : str
        A key of `METRICS`.

    Returns
    -------
    rows : slice
    area : str
    """
    overlap, area = METRICS[metric]
    if overlap is None:
        return slice(None), area
    row = int(np.argmin(np.abs(OVERLAPS - overlap)))
    return slice(row, row + 1), area


def average_precision(matches, weights=None):
    """AP of one culture at each overlap, in weighted sets of images, all sets at once.

    Parameters
    ----------
    matches : ClassMatches
    weights : ndarray of int, shape (R, I), optional
        How often each image is in each of R sets; by default there is one set, as it is. Every set
        must hold a cell of the culture.

    Returns
    -------
    precision, recall : ndarray of float, shape (T, R)
        AP and greatest recall, between 0 and 1.

    Notes
    -----
    COCO reads, at each of 101 recalls, the best precision at that recall or a higher one. The
    curve rises only at detections that found a cell, so it is worked out at these alone, each
    taken as often as there are of the 101 recalls between the one before and itself.
    """
    if weights is None:
        weights = np.ones((1, matches.cells.size), int)
    columns = max(1, _CHUNK // max(1, matches.image.size))
    area = np.empty((len(matches.hit), len(weights)))
    recall = np.empty_like(area)
    for start in range(0, len(weights), columns):
        part = slice(start, start + columns)
        by_image = np.ascontiguousarray(weights[part].T, dtype=np.int32)
        cells = matches.cells @ by_image
        before = None
        for row, (hit, counted) in enumerate(zip(matches.hit, matches.counted, strict=True)):
            if before is None or (counted != before).any():  # without crowds it is always the same
                before, total = counted, _running_sum(by_image[matches.image[counted]])
            hits = np.flatnonzero(hit[counted])
            true = _running_sum(by_image[matches.image[counted][hits]])
            precision = true / np.maximum(total[hits], 1)
            best = np.maximum.accumulate(precision[::-1])[::-1]
            reached = np.searchsorted(RECALLS, true / cells, side="right")
            area[row, part] = (np.diff(reached, axis=0, prepend=0) * best).sum(axis=0)
            recall[row, part] = true[-1] / cells if len(true) else 0
    return area / RECALLS.size, recall


def _running_sum(weights):
    return np.cumsum(weights, axis=0, dtype=np.int32)
