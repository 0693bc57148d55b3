"""The images of a set one by one: AP50 of each, its dominant error in words, and which to show.

The paper's Fig. 3 shows four images with "the segmentation average precision at IoU 0.5" above
each. Here every image has that number, and those that are shown are chosen by a rule.
"""

import numpy as np
import pandas as pd

from deepmucs_utils.analysis.counting import confident
from deepmucs_utils.analysis.error_kinds import ERRORS, label_errors
from deepmucs_utils.data.cultures import LABELS
from deepmucs_utils.evaluation.matching import Matched, average_precision

LEAST_CELLS = 8  # of an image to be shown: with fewer, one cell decides


def image_ap50(matched) -> np.ndarray:
    """AP50 of each image by itself, the mean over the cultures that it holds.

    Parameters
    ----------
    matched : Matched

    Returns
    -------
    ndarray of float, shape (I,)
        Percent, images in the order of the ground truth; NaN for an image without cells.
    """
    matches = matched.by_culture().values()
    ap50 = np.full((len(matches), len(matched.truth["images"])), np.nan)
    for row, found in zip(ap50, matches, strict=True):
        holds = np.flatnonzero(found.cells)
        alone = np.eye(row.size, dtype=int)[holds]  # for each image a set that holds it alone
        row[holds] = average_precision(found.at_half(), alone)[0][0]
    return 100 * pd.DataFrame(ap50).mean().to_numpy()


def image_table(matched, threshold) -> pd.DataFrame:
    """What happened in each image.

    Parameters
    ----------
    matched : Matched
    threshold : float
        Errors are those of the detections that `counting.confident` keeps; AP50 is that of
        all detections.

    Returns
    -------
    pandas.DataFrame
        One row per image, in the order of the ground truth: ``image_id``, ``file_name``,
        ``cells``, ``cultures`` (how many it holds), ``AP50`` (percent), the number of each of
        `ERRORS`, ``dominant`` (the most frequent error, the first of them if several are; empty
        for none) and ``words``.
    """
    kept = Matched(matched.truth, confident(matched.records, threshold))
    labelled = label_errors(kept)
    images = pd.DataFrame(
        [(image["id"], image.get("file_name", str(image["id"]))) for image in kept.truth["images"]],
        columns=["image_id", "file_name"],
    )
    numbers = labelled.cells.groupby("image")["culture"].agg(cells="size", cultures="nunique")
    numbers = numbers.reindex(images.index, fill_value=0)
    counts = pd.crosstab(labelled.faults["image"], labelled.faults["error"])
    counts = counts.reindex(index=images.index, columns=list(ERRORS), fill_value=0)
    table = images.join(numbers).assign(AP50=image_ap50(matched)).join(counts)
    table["dominant"] = counts.idxmax(axis=1).where(counts.any(axis=1), "")
    faults = dict(iter(labelled.faults.groupby(["image", "error"])))
    table["words"] = [
        _in_words(error, faults.get((image, error)), n, labelled.cells)
        for image, n, error in zip(table.index, table["cells"], table["dominant"], strict=True)
    ]
    return table


_WORDS = {
    "class": "of {cells} cells got the wrong name",
    "localisation": "outline{s} overlap{v} a cell of the right culture by less than half",
    "both": "detection{s} with wrong culture and wrong outline",
    "duplicate": "cell{s} found twice",
    "background": "detection{s} where there is no cell",
    "missed": "of {cells} cells",
}


def _in_words(error, faulty, n_cells, cells):
    """One sentence without a full stop on the most frequent error of an image."""
    if not error:
        return f"all {n_cells} cells right" if n_cells else "no cells, none predicted"
    names = faulty["culture"].replace(LABELS)
    if error == "class":
        true = cells["culture"].loc[faulty["cell"]].replace(LABELS)
        names = pd.Series([f"{a} taken for {b}" for a, b in zip(true, names, strict=True)])
    counts = names.value_counts(sort=False).sort_values(ascending=False, kind="stable")
    single = counts.index[0] if len(counts) == 1 else None
    listed = single or ", ".join(f"{n} {name}" for name, n in counts.items())
    s, v = ("", "s") if len(faulty) == 1 else ("s", "")
    return f"{error}: {len(faulty)} {_WORDS[error].format(cells=n_cells, s=s, v=v)} ({listed})"


def choose(table, n) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Choose adequate and inadequate images by rule: the best and the worst AP50.

    Of the images with at least `LEAST_CELLS` cells (of all, where fewer than twice ``n`` have
    that many), the ``n`` with the highest AP50 and the ``n`` with the lowest; among equal ones
    those with more cultures, then more cells, then the lower id.

    Parameters
    ----------
    table : pandas.DataFrame
        From `image_table`.
    n : int

    Returns
    -------
    adequate, inadequate : pandas.DataFrame
        Rows of the table; the inadequate ones from the worst on.
    """
    known = table.dropna(subset="AP50")
    large = known[known["cells"] >= LEAST_CELLS]
    known = large if len(large) >= 2 * n else known
    known = known.sort_values(["cultures", "cells", "image_id"], ascending=[False, False, True])
    adequate = known.nlargest(n, "AP50")
    return adequate, known.drop(adequate.index).nsmallest(n, "AP50")
