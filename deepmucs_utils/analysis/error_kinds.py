"""By which kind of error is AP lost, over a set and in each image?

The kinds are TIDE's (Bolya et al., ECCV 2020): a detection that found no cell of its culture has
the wrong class, the wrong place, both, is a duplicate, or lies on background; a cell that none
of them would have found is missed. The gain of a kind is the AP50 with all errors of that kind
corrected, minus the AP50 as it is. hotcoco's TIDE gives the sums over a set only; here each
detection and each cell is labelled, so that errors can be counted by image and by culture.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from deepmucs_utils.evaluation.matching import average_precision, overlaps, ranked
from deepmucs_utils.evaluation.records import culture_names

ERRORS = ("class", "localisation", "both", "duplicate", "background", "missed")
FOUND = 0.5  # overlap at which a detection finds a cell
NOTHING = 0.1  # overlap below which it lies on background


@dataclass(frozen=True)
class Labelled:
    """Each cell and each detection of a set with what became of it.

    Parameters
    ----------
    cells : pandas.DataFrame
        `matching.cell_table` with ``found`` (by a detection of its culture) and ``error``
        (``"missed"`` or empty: a cell that was not found but at which a detection of the wrong
        class or place aims is no further error).
    detections : pandas.DataFrame
        One row per detection, in the file's order. Columns ``image``, ``culture``, ``score``,
        ``error`` (one of `ERRORS`; empty where right), ``cell`` (place of the cell that it found,
        or would find if it were corrected; -1 for none), ``counted`` (False on crowd regions).
    """

    cells: pd.DataFrame
    detections: pd.DataFrame

    @property
    def faults(self) -> pd.DataFrame:
        """All errors: ``image, culture, error`` and ``cell`` (of the missed ones their own)."""
        wrong = self.detections[self.detections["counted"] & (self.detections["error"] != "")]
        missed = self.cells[self.cells["error"] == "missed"]
        columns = ["image", "culture", "error", "cell"]
        missed = missed.assign(cell=missed.index)
        return pd.concat([wrong[columns], missed[columns]], ignore_index=True)


def label_errors(matched) -> Labelled:
    """Label each detection and each cell with its error.

    Parameters
    ----------
    matched : Matched

    Returns
    -------
    Labelled
    """
    names = culture_names(matched.truth)
    position = {image["id"]: index for index, image in enumerate(matched.truth["images"])}
    records, annotations = matched.records, matched.truth["annotations"]
    detections = pd.DataFrame(
        {
            "image": np.array([position[record["image_id"]] for record in records], int),
            "culture": np.array([names[record["category_id"]] for record in records], object),
            "score": np.array([record["score"] for record in records], float),
            "error": np.full(len(records), "background", object),
            "cell": np.full(len(records), -1),
            "counted": np.zeros(len(records), bool),
        }
    )
    ranking = matched.ranking()
    detections.loc[ranking.record, "cell"] = ranking.cell[0]
    detections.loc[ranking.record, "counted"] = ranking.counted[0]
    detections.loc[detections["cell"] >= 0, "error"] = ""
    cells = matched.cells.assign(found=matched.cells.index.isin(detections["cell"]), error="")

    cells_of = dict(iter(cells[~cells["crowd"]].groupby("image")))
    wrong = detections[detections["counted"] & (detections["error"] != "")]
    for image, false in wrong.groupby("image"):
        if image not in cells_of:
            continue
        here = cells_of[image]
        pairs = [records[row] for row in false.index], [annotations[cell] for cell in here.index]
        same = false["culture"].to_numpy()[:, None] == here["culture"].to_numpy()
        kinds, aims = _kinds(overlaps(*pairs), same, here["found"].to_numpy())
        detections.loc[false.index, "error"] = kinds
        detections.loc[false.index, "cell"] = np.where(aims >= 0, here.index[aims], -1)

    aimed_at = detections["cell"][detections["error"].isin(["class", "localisation"])]
    missed = ~cells["found"] & ~cells["crowd"] & ~cells.index.isin(aimed_at)
    cells.loc[missed, "error"] = "missed"
    return Labelled(cells, detections)


def _kinds(overlap, same, found):
    """Kind of each false detection of an image, and which cell it aims at (-1 for none).

    Parameters
    ----------
    overlap : ndarray of float, shape (D, G)
    same : ndarray of bool, shape (D, G)
        Whether detection and cell are of one culture.
    found : ndarray of bool, shape (G,)
    """
    of_culture = np.where(same, overlap, -1)
    of_others = np.where(same, -1, overlap)
    taken = np.where(same & found, overlap, -1)
    near, elsewhere = of_culture.max(axis=1), of_others.max(axis=1)
    place = (near >= NOTHING) & (near <= FOUND)
    name = elsewhere >= FOUND
    again = taken.max(axis=1) >= FOUND
    nothing = overlap.max(axis=1) < NOTHING
    names = ["localisation", "class", "duplicate", "background"]
    kinds = np.select([place, name, again, nothing], names, "both")
    aims = np.select([place, name], [of_culture.argmax(axis=1), of_others.argmax(axis=1)], -1)
    return kinds, aims


def decompose(matched) -> pd.DataFrame:
    """Number of errors of each kind, and what correcting them would bring.

    Parameters
    ----------
    matched : Matched

    Returns
    -------
    pandas.DataFrame
        Index culture (``"all"`` is the mean over those with cells) and error; columns ``n``
        (errors), ``AP50`` (as it is, percent) and ``gain`` (points of AP50 that correcting this
        kind alone would bring). The gains do not add up to 100 minus AP50: correcting one kind
        changes what another costs.
    """
    labelled = label_errors(matched)
    faults = labelled.faults
    counts = faults.groupby(["culture", "error"]).size()
    rows = []
    for culture, matches in matched.by_culture().items():
        if matches.cells.any():
            matches = matches.at_half()
            ap50 = _ap50(matches)
            for error in ERRORS:
                gain = _ap50(_corrected(matches, culture, error, labelled)) - ap50
                rows.append((culture, error, counts.get((culture, error), 0), ap50, gain))
    table = pd.DataFrame(rows, columns=["culture", "error", "n", "AP50", "gain"])
    means = table.groupby("error")[["AP50", "gain"]].mean().reindex(list(ERRORS)).reset_index()
    means["n"] = [int((faults["error"] == error).sum()) for error in ERRORS]
    table = pd.concat([means.assign(culture="all"), table])
    return table.set_index(["culture", "error"])[["n", "AP50", "gain"]]


def _ap50(matches):
    """AP at the first overlap, percent; 0 where no cell is left."""
    return 100 * float(average_precision(matches)[0][0, 0]) if matches.cells.any() else 0.0


def _corrected(matches, culture, error, labelled):
    """The matches of a culture when all errors of one kind are corrected.

    A false detection of the kind disappears; where it aims at a cell that was not found, the one
    with the highest score for each such cell becomes right instead (for a wrong class, in the
    culture of the cell).
    """
    cells, detections = labelled.cells, labelled.detections
    if error == "missed":
        lost = cells[(cells["culture"] == culture) & (cells["error"] == "missed")]
        left = matches.cells - np.bincount(lost["image"], minlength=matches.cells.size)
        return replace(matches, cells=left)
    faulty = detections[(detections["error"] == error) & detections["counted"]]
    aimed = faulty[faulty["cell"] >= 0].sort_values("score", ascending=False, kind="stable")
    aimed = aimed.drop_duplicates("cell").join(cells[["culture", "found"]], "cell", rsuffix="_true")
    right = aimed[~aimed["found"].astype(bool) & (aimed["culture_true"] == culture)]
    kept = ~np.isin(matches.record, faulty.index)
    true = np.ones((1, len(right)), bool)
    return ranked(
        np.concatenate([matches.score[kept], right["score"]]),
        matches.cells,
        image=np.concatenate([matches.image[kept], right["image"]]).astype(int),
        hit=np.concatenate([matches.hit[:, kept], true], axis=1),
        counted=np.concatenate([matches.counted[:, kept], true], axis=1),
    )
