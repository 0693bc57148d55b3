"""From ranked detections to cells one can count: a score to trust, and one name for each cell.

AP judges the whole ranking. Whoever counts cells needs a list of them: detections below a score
are left out, and where two of them claim the same pixels, as when a model gives one cell two
names, the surer one stays.
"""

import math

import numpy as np
import pandas as pd
from hotcoco import mask as rle

from deepmucs_utils.analysis.error_kinds import FOUND, label_errors


def best_threshold(ground_truth, predictions, iou_type="segm"):
    """Score at which precision and recall are best together, to be chosen on val.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.
    predictions : list of dict
        From `read_predictions`.
    iou_type : {"bbox", "segm"}

    Returns
    -------
    threshold : float
        Smallest score to keep. Of the scores with the best F1 the highest; infinity, so that
        nothing is kept, where no detection is right.
    f1 : float
        Harmonic mean of precision and recall there, all cultures together, between 0 and 1; a
        detection is right if it has the cell's culture and half of its area (IoU 0.5).
    """
    detections = label_errors(ground_truth, predictions, iou_type).detections
    detections = detections[detections["counted"]]
    detections = detections.sort_values("score", ascending=False, kind="stable")
    right = np.cumsum(detections["error"] == "")
    cells = sum(not a.get("iscrowd") for a in ground_truth["annotations"])
    if not len(right) or right.iloc[-1] == 0:
        return math.inf, 0.0
    f1 = pd.Series(2 * right.to_numpy() / (np.arange(len(right)) + 1 + cells))
    f1 = f1.groupby(detections["score"].to_numpy()).last()  # equal scores come in together
    best = f1[f1 == f1.max()]
    return float(best.index[-1]), float(best.iloc[-1])


def confident(predictions, threshold, overlap=FOUND):
    """Detections to count: sure enough, and one for each object.

    Parameters
    ----------
    predictions : list of dict
        From `read_predictions`.
    threshold : float
        Smallest score to keep.
    overlap : float
        A detection goes when its mask's IoU with a surer one's, of whatever culture, is this or
        more.

    Returns
    -------
    list of dict
        In the order of the results list.
    """
    by_image = {}
    for place, record in enumerate(predictions):
        if record["score"] >= threshold:
            by_image.setdefault(record["image_id"], []).append(place)
    kept = []
    for places in by_image.values():
        places = sorted(places, key=lambda place: -predictions[place]["score"])
        masks = [predictions[place]["segmentation"] for place in places]
        claimed = np.asarray(rle.iou(masks, masks, [False] * len(masks))) >= overlap
        standing = np.ones(len(places), bool)
        for row in range(len(places)):
            if standing[row]:
                standing[row + 1 :] &= ~claimed[row, row + 1 :]
        kept += [place for place, stands in zip(places, standing, strict=True) if stands]
    return [predictions[place] for place in sorted(kept)]
