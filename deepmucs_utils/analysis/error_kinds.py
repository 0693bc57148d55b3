"""By which kind of error is AP lost, over a set and in each image?

The kinds are TIDE's (Bolya et al., ECCV 2020): a detection that found no cell of its culture has
the wrong class, the wrong place, both, is a duplicate, or stands on background; a cell that none
of them would have found is missed. What mending a kind would bring is the AP50 with all errors of
that kind mended, minus the AP50 as it is. hotcoco's TIDE gives the sums over a set only; here each
detection and each cell is labelled, so that they can be counted by image and by culture.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from hotcoco import mask as rle

from deepmucs_utils.evaluation.matching import average_precision, match_classes

ERRORS = ("class", "localisation", "both", "duplicate", "background", "missed")
FOUND = 0.5  # overlap at which a detection finds a cell
NOTHING = 0.1  # overlap below which it stands on background
_ROW = 0  # of OVERLAPS, that of FOUND


@dataclass(frozen=True)
class Labelled:
    """Each cell and each detection of a set with what became of it.

    Parameters
    ----------
    cells : pandas.DataFrame
        One row a cell, in the file's order; index is its place in the list of annotations. Columns
        ``annotation_id`` (as in the file), ``image`` (index), ``culture``, ``area`` (px²),
        ``found`` (by a detection of its culture), ``error`` (``"missed"`` or empty: a cell that
        nobody found but at which a detection of the wrong class or place aims is no further
        error).
    detections : pandas.DataFrame
        One row a detection, in the file's order. Columns ``image``, ``culture``, ``score``,
        ``error`` (one of `ERRORS`; empty where right), ``cell`` (place of the cell that it found,
        or that it would find if it were mended; -1 for none), ``counted`` (False on crowd
        regions).
    """

    cells: pd.DataFrame
    detections: pd.DataFrame


def label_errors(ground_truth, predictions, iou_type="segm"):
    """Label each detection and each cell with its error.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.
    predictions : list of dict
        From `read_predictions`.
    iou_type : {"bbox", "segm"}

    Returns
    -------
    Labelled
    """
    names = {category["id"]: category["name"] for category in ground_truth["categories"]}
    position = {image["id"]: index for index, image in enumerate(ground_truth["images"])}
    annotations = ground_truth["annotations"]
    cells = pd.DataFrame(
        {
            "annotation_id": [a["source_id"] for a in annotations],
            "image": np.array([position[a["image_id"]] for a in annotations], int),
            "culture": [names[a["category_id"]] for a in annotations],
            "area": np.array([a["area"] for a in annotations], float),
            "found": False,
            "crowd": np.array([bool(a.get("iscrowd")) for a in annotations], bool),
            "error": "",
        }
    )
    culture = np.array([names[record["category_id"]] for record in predictions], object)
    error = np.full(len(predictions), "background", object)
    aim = np.full(len(predictions), -1)
    counted = np.zeros(len(predictions), bool)
    for matches in match_classes(ground_truth, predictions, iou_type).values():
        counted[matches.record] = matches.counted[_ROW]
        right = matches.hit[_ROW]
        error[matches.record[right]] = ""
        aim[matches.record[right]] = matches.cell[_ROW][right]
    cells.loc[aim[aim >= 0], "found"] = True

    image = np.array([position[record["image_id"]] for record in predictions], int)
    wrong = pd.Series(image)[counted & (error != "")]
    true = cells[~cells["crowd"]]
    cells_of = {number: index.to_numpy() for number, index in true.groupby("image").groups.items()}
    key = {"bbox": "bbox", "segm": "segmentation"}[iou_type]
    for number, rows in wrong.groupby(wrong).groups.items():
        if number not in cells_of:
            continue
        here = cells_of[number]
        overlaps = rle.iou(
            [predictions[row][key] for row in rows],
            [annotations[cell][key] for cell in here],
            [False] * here.size,
        )
        same = culture[rows][:, None] == cells["culture"].to_numpy()[here]
        kinds, aims = _kinds(np.asarray(overlaps), same, cells["found"].to_numpy()[here])
        error[rows] = kinds
        aim[rows] = np.where(aims >= 0, here[aims], -1)

    missed = ~cells["found"] & ~cells["crowd"]
    missed &= ~cells.index.isin(aim[np.isin(error, ["class", "localisation"])])
    cells.loc[missed, "error"] = "missed"
    detections = pd.DataFrame(
        {
            "image": image,
            "culture": culture,
            "score": np.array([record["score"] for record in predictions], float),
            "error": error,
            "cell": aim,
            "counted": counted,
        }
    )
    return Labelled(cells.drop(columns="crowd"), detections)


def _kinds(overlaps, same, found):
    """Kind of each false detection of an image, and which cell it aims at (-1 for none).

    Parameters
    ----------
    overlaps : ndarray of float, shape (D, G)
    same : ndarray of bool, shape (D, G)
        Whether detection and cell are of one culture.
    found : ndarray of bool, shape (G,)
    """
    of_culture = np.where(same, overlaps, -1)
    of_others = np.where(same, -1, overlaps)
    taken = np.where(same & found, overlaps, -1)
    near, elsewhere = of_culture.max(axis=1), of_others.max(axis=1)
    place = (near >= NOTHING) & (near <= FOUND)
    name = elsewhere >= FOUND
    again = taken.max(axis=1) >= FOUND
    nothing = overlaps.max(axis=1) < NOTHING
    kinds = np.select(
        [place, name, again, nothing],
        ["localisation", "class", "duplicate", "background"],
        "both",
    )
    aims = np.select([place, name], [of_culture.argmax(axis=1), of_others.argmax(axis=1)], -1)
    return kinds, aims


def decompose(ground_truth, predictions, iou_type="segm"):
    """Number of errors of each kind, and what mending them would bring.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.
    predictions : list of dict
        From `read_predictions`.
    iou_type : {"bbox", "segm"}

    Returns
    -------
    pandas.DataFrame
        Index culture (``"all"`` is the mean over those with cells) and error; columns ``n``
        (errors), ``AP50`` (as it is, percent) and ``gain`` (points of AP50 that mending this kind
        alone would bring). The gains do not add up to what is lacking: mending one kind changes
        what another costs.
    """
    labelled = label_errors(ground_truth, predictions, iou_type)
    matches = match_classes(ground_truth, predictions, iou_type)
    names = {category["id"]: category["name"] for category in ground_truth["categories"]}
    matches = {names[key]: _first_row(m) for key, m in matches.items() if m.cells.any()}
    before = {name: _ap50(found) for name, found in matches.items()}
    rows = []
    for error in ERRORS:
        for name, found in matches.items():
            mended = _mend(found, name, error, labelled)
            rows.append((name, error, _count(labelled, name, error), before[name], mended))
    table = pd.DataFrame(rows, columns=["culture", "error", "n", "AP50", "mended"])
    table["gain"] = table.pop("mended") - table["AP50"]
    means = table.groupby("error", sort=False)[["AP50", "gain"]].mean()
    means["n"] = [_count(labelled, None, error) for error in means.index]
    means = means.reset_index().assign(culture="all")
    table = pd.concat([means, table], ignore_index=True)
    order = ["all", *matches]
    return table.set_index(["culture", "error"])[["n", "AP50", "gain"]].reindex(
        [(culture, error) for culture in order for error in ERRORS]
    )


def _first_row(matches):
    return replace(
        matches, hit=matches.hit[[_ROW]], counted=matches.counted[[_ROW]], cell=matches.cell[[_ROW]]
    )


def _ap50(matches):
    return 100 * float(average_precision(matches)[0][0, 0])


def _count(labelled, culture, error):
    table = labelled.cells if error == "missed" else labelled.detections
    kept = table["error"] == error
    if error != "missed":
        kept &= table["counted"]
    if culture is not None:
        kept &= table["culture"] == culture
    return int(kept.sum())


def _mend(matches, culture, error, labelled):
    """AP50 of a culture when all errors of one kind are mended, percent.

    A false detection of the kind disappears; where it aims at a cell that nobody found, the surest
    one for each such cell becomes right instead (for a wrong class, in the culture of the cell).
    """
    cells, detections = labelled.cells, labelled.detections
    if error == "missed":
        lost = cells[(cells["culture"] == culture) & (cells["error"] == "missed")]
        left = matches.cells - np.bincount(lost["image"], minlength=matches.cells.size)
        return _ap50(replace(matches, cells=left)) if left.any() else 0.0

    faulty = detections[(detections["error"] == error) & detections["counted"]]
    aims = faulty[faulty["cell"] >= 0]
    aims = aims[~cells["found"].to_numpy()[aims["cell"]]]
    aims = aims.sort_values("score", ascending=False, kind="stable").drop_duplicates("cell")
    aims = aims[cells["culture"].to_numpy()[aims["cell"]] == culture]
    kept = ~np.isin(matches.record, faulty.index)
    score = np.concatenate([matches.score[kept], aims["score"]])
    order = np.argsort(-score, kind="stable")
    image = np.concatenate([matches.image[kept], aims["image"]]).astype(int)[order]
    true = np.ones((1, len(aims)), bool)
    hit = np.concatenate([matches.hit[:, kept], true], axis=1)[:, order]
    counted = np.concatenate([matches.counted[:, kept], true], axis=1)[:, order]
    return _ap50(replace(matches, image=image, hit=hit, counted=counted))
