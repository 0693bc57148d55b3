"""From ranked detections to cells one can count: a threshold, and one name for each cell.

AP evaluates the whole ranking. Counting cells needs a list of them: detections below a threshold
are left out, and where two of them claim the same pixels, as when a model gives one cell two
names, the one with the higher score stays.
"""

import math

import numpy as np
import pandas as pd

from deepmucs_utils.analysis.error_kinds import FOUND
from deepmucs_utils.evaluation.matching import overlaps
from deepmucs_utils.evaluation.records import by_image


def best_threshold(matched) -> tuple[float, float]:
    """Score at which precision and recall are best together; to be chosen on a validation set.

    Parameters
    ----------
    matched : Matched

    Returns
    -------
    threshold : float
        Smallest score to keep. Of the scores with the best F1 the highest; infinity, so that
        nothing is kept, where no detection is right.
    f1 : float
        Harmonic mean of precision and recall there, all cultures together, between 0 and 1; a
        detection is right if it has the cell's culture and an IoU of at least 0.5 with it.
    """
    ranking = matched.ranking()
    counted = ranking.counted[0]
    right = np.cumsum(ranking.hit[0][counted])
    if not right.any():
        return math.inf, 0.0
    f1 = pd.Series(2 * right / (np.arange(1, right.size + 1) + ranking.cells.sum()))
    f1 = f1.groupby(ranking.score[counted]).last()  # equal scores come in together
    best = f1[f1 == f1.max()]
    return float(best.index[-1]), float(best.iloc[-1])


def confident(predictions, threshold) -> list[dict]:
    """Detections to count: above a threshold, and one for each object.

    Parameters
    ----------
    predictions : list of dict
        From `read_predictions`.
    threshold : float
        Smallest score to keep.

    Returns
    -------
    list of dict
        In the order of the results list. A detection is dropped when its mask has an IoU of 0.5 or
        more with a kept one of a higher score, of whatever culture.
    """
    kept = []
    records = enumerate(predictions)
    sure = [record | {"place": place} for place, record in records if record["score"] >= threshold]
    for found in by_image(sure).values():
        found = sorted(found, key=lambda record: -record["score"])
        claimed = overlaps(found, found) >= FOUND
        standing = np.ones(len(found), bool)
        for row, record in enumerate(found):
            if standing[row]:
                standing[row + 1 :] &= ~claimed[row, row + 1 :]
                kept.append(record["place"])
    return [predictions[place] for place in sorted(kept)]
