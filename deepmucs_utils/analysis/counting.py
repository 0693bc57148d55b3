"""From ranked detections to counted cells: a threshold, one name for each cell, and the confusions.

AP evaluates the whole ranking. Counting cells needs a list of them: detections below a threshold
are left out, and where two of them claim the same pixels, as when a model gives one cell two
names, the one with the higher score stays. Then it is known which culture is taken for which, what
is missed or false, and whether the scores are calibrated.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from deepmucs_utils.analysis.error_kinds import FOUND
from deepmucs_utils.evaluation.matching import overlaps
from deepmucs_utils.evaluation.metrics import MIN_BIN
from deepmucs_utils.evaluation.records import by_image, culture_names

BINS = 10  # of the score, for its calibration


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
        return np.inf, 0.0
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


@dataclass(frozen=True)
class Counts:
    """Cells of a set by image, true and predicted culture.

    Parameters
    ----------
    cultures : tuple of str
    confusion : ndarray of int, shape (I, K + 1, K + 1)
        Rows the K true cultures, then false detections; columns the predicted cultures, then
        missed cells.
    """

    cultures: tuple
    confusion: np.ndarray

    @property
    def true(self) -> np.ndarray:
        """True cells of each image and culture; int, shape (I, K)."""
        return self.confusion[:, :-1].sum(axis=2)

    @property
    def predicted(self) -> np.ndarray:
        """Predicted cells of each image and culture; int, shape (I, K)."""
        return self.confusion[:, :, :-1].sum(axis=1)

    def keep(self, cultures) -> "Counts":
        """The counts of some cultures; the cells of others, and other names, are left out.

        Parameters
        ----------
        cultures : sequence of str

        Returns
        -------
        Counts
            A kept cell with a name that is left out counts as missed; a cell that is left out, with
            a name that is kept, as false.
        """
        place = np.full(len(self.cultures) + 1, len(cultures))
        place[[self.cultures.index(name) for name in cultures]] = np.arange(len(cultures))
        select = np.eye(len(cultures) + 1, dtype=int)[place]
        kept = select.T @ self.confusion @ select
        kept[:, -1, -1] = 0
        return Counts(tuple(cultures), kept)


def count(ground_truth, kept) -> Counts:
    """Count the cells of each image by true and by predicted culture, with missed and false ones.

    Each detection, the highest score first, takes the cell that it overlaps most, whatever its
    culture, if the IoU is at least 0.5 and no other took it.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.
    kept : list of dict
        Detections that count, from `confident`.

    Returns
    -------
    Counts
        Images in the order of the ground truth, cultures by category id. Crowd regions are neither
        missed nor does a detection on them count as false.
    """
    names = culture_names(ground_truth)
    index = {category: place for place, category in enumerate(names)}
    cells_of, found_of = by_image(ground_truth["annotations"]), by_image(kept)
    counts = np.zeros((len(ground_truth["images"]), len(index) + 1, len(index) + 1), int)
    for image, table in zip(ground_truth["images"], counts, strict=True):
        cells = [cell for cell in cells_of[image["id"]] if not cell.get("iscrowd")]
        crowds = [cell for cell in cells_of[image["id"]] if cell.get("iscrowd")]
        found = sorted(found_of[image["id"]], key=lambda record: -record["score"])
        true = np.array([index[cell["category_id"]] for cell in cells] + [-1])
        named = np.array([index[record["category_id"]] for record in found], int)
        taken = _take(overlaps(found, cells))
        counted = (taken >= 0) | (overlaps(found, crowds, crowd=True) < FOUND).all(axis=1)
        np.add.at(table, (true[taken[counted]], named[counted]), 1)
        np.add.at(table, (true[np.setdiff1d(np.arange(len(cells)), taken)], -1), 1)
    return Counts(tuple(names.values()), counts)


def _take(overlap):
    """Cell that each detection takes, -1 for none; no cell is taken twice."""
    left = overlap.copy()
    taken = np.full(len(left), -1)
    for row in range(len(left)):
        if left[row].max(initial=0) >= FOUND:
            taken[row] = left[row].argmax()
            left[:, taken[row]] = 0
    return taken


def confusion_matrix(counts) -> pd.DataFrame:
    """The set's confusion matrix, with names.

    Parameters
    ----------
    counts : Counts

    Returns
    -------
    pandas.DataFrame of int
        Rows the true cultures and ``"false"``; columns the predicted ones and ``"missed"``. Row
        sums are the numbers of cells, column sums those of detections.
    """
    rows, columns = [*counts.cultures, "false"], [*counts.cultures, "missed"]
    return pd.DataFrame(
        counts.confusion.sum(axis=0),
        pd.Index(rows, name="true"),
        pd.Index(columns, name="predicted"),
    )


def calibration(matched) -> tuple[pd.DataFrame, float]:
    """Does a score of 0.8 mean that eight of ten such detections are right?

    Parameters
    ----------
    matched : Matched
        With all detections, without a threshold.

    Returns
    -------
    table : pandas.DataFrame
        One row for each of `BINS` equally wide bins of the score, which hold their lower edge:
        ``low``, ``high``, ``n`` (detections), ``score`` (their mean) and
        ``right`` (share that found a cell of their culture at IoU 0.5). Score and share are NaN
        below `MIN_BIN` detections.
    error : float
        Expected calibration error: mean over detections of their bin's difference between score
        and share (Guo et al., ICML 2017), all bins counted; NaN without detections.
    """
    found = matched.evaluation(areas=["all"]).calibration(BINS, FOUND)
    names = {"bin_lower": "low", "bin_upper": "high", "count": "n"}
    names |= {"avg_confidence": "score", "avg_accuracy": "right"}
    table = pd.DataFrame(found["bins"])[list(names)].rename(columns=names)
    table.loc[table["n"] < MIN_BIN, ["score", "right"]] = np.nan
    return table, found["ece"] if found["num_detections"] else np.nan
