"""AP against what a cell's surroundings are like: crowded or alone, covered, cut by the border.

COCO's AP of some of the cells depends on how many they are, because the false detections stay the
same. So the precision is normalised (Hoiem et al., ECCV 2012, section 3): what it would be if the
set had as many of these cells as it has cells at all. Slices can then be compared.
"""

import numpy as np
import pandas as pd

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.matching import RECALLS, match_classes
from deepmucs_utils.evaluation.metrics import AREA_RANGES, MIN_BIN
from deepmucs_utils.evaluation.resampling import draw_images, image_blocks, interval

SURROUNDINGS = 64.0  # px: cells whose centres are this close make a cell's surroundings crowded
#: Edges of the slices of each property; the last one is open.
EDGES = {
    "density": (0, 1, 2, 4, np.inf),
    "visible": (0, 0.8, 0.95, 1, np.inf),
    "border": (0, 1, 8, 24, np.inf),
}


def cell_properties(ground_truth, provenance=None):
    """What each cell's surroundings are like.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.
    provenance : pandas.DataFrame, optional
        A co-culture set's ``provenance.parquet``: its columns ``annotation_id`` and ``visible``.

    Returns
    -------
    pandas.DataFrame
        One row an annotation, in the file's order: ``image`` (index), ``culture``, ``area_bin``
        (``small``, ``medium``, ``large``), ``density`` (other cells whose centre is within
        `SURROUNDINGS`), ``border`` (px from the bounding box to the image's border), ``visible``
        (share of the pasted cell that others and the border left; NaN without provenance).

    Raises
    ------
    DeepMuCSError
        If the provenance lacks a cell.
    """
    names = {category["id"]: category["name"] for category in ground_truth["categories"]}
    images = {image["id"]: (index, image) for index, image in enumerate(ground_truth["images"])}
    annotations = ground_truth["annotations"]
    boxes = np.array([a["bbox"] for a in annotations], float).reshape(-1, 4)
    index = np.array([images[a["image_id"]][0] for a in annotations], int)
    sizes = np.array([(image["width"], image["height"]) for image in ground_truth["images"]])
    size = sizes[index].reshape(-1, 2)
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    border = np.minimum(low, size - high).min(axis=1, initial=np.inf)
    centre = (low + high) / 2
    density = np.zeros(len(annotations), int)
    for rows in pd.Series(index).groupby(index).groups.values():
        distance = np.linalg.norm(centre[rows][:, None] - centre[rows], axis=2)
        density[rows] = (distance <= SURROUNDINGS).sum(axis=1) - 1
    limits = [AREA_RANGES["small"][1], AREA_RANGES["medium"][1]]
    area = np.array([a["area"] for a in annotations], float)
    table = pd.DataFrame(
        {
            "image": index,
            "culture": [names[a["category_id"]] for a in annotations],
            "area_bin": np.array(["small", "medium", "large"])[np.digitize(area, limits)],
            "density": density,
            "border": np.maximum(border, 0),
            "visible": np.nan,
        }
    )
    if provenance is not None:
        visible = provenance.set_index("annotation_id")["visible"]
        ids = [a["source_id"] for a in annotations]
        missing = [number for number in ids if number not in visible.index]
        if missing:
            raise DeepMuCSError(
                f"provenance: has no row for annotation {missing[0]}; expected that of the same "
                "set."
            )
        table["visible"] = visible.loc[ids].to_numpy()
    return table


def ap_by(ground_truth, predictions, values, edges, iou_type="segm", replicates=200, seed=0):
    """AP50 of the cells in each slice of a property, all cultures in one ranking.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.
    predictions : list of dict
        From `read_predictions`.
    values : sequence of float
        The property, one value an annotation; a column of `cell_properties`.
    edges : sequence of float
        Slices hold their lower edge.
    iou_type : {"bbox", "segm"}
    replicates, seed : int
        Of the intervals, drawn over donor blocks as in `bootstrap.bootstrap`.

    Returns
    -------
    pandas.DataFrame
        One row a slice: ``low``, ``high`` (edges), ``n`` (cells), ``AP50``, ``AP50_low``,
        ``AP50_high`` (percent; NaN below `MIN_BIN` cells), ``found`` (percent of the cells that
        any detection of their culture found).
    """
    image, score, hit, counted, cell = _one_ranking(ground_truth, predictions, iou_type)
    position = {entry["id"]: index for index, entry in enumerate(ground_truth["images"])}
    annotations = ground_truth["annotations"]
    true = np.array([not a.get("iscrowd") for a in annotations], bool)
    home = np.array([position[a["image_id"]] for a in annotations], int)
    values = np.asarray(values, float)
    n_images = len(position)
    everything = np.bincount(home[true], minlength=n_images)
    blocks, _ = image_blocks(ground_truth)
    rows = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = true & (values >= low) & (values < high)
        n = int(inside.sum())
        row = {"low": low, "high": high, "n": n, "AP50": np.nan}
        row |= {"AP50_low": np.nan, "AP50_high": np.nan, "found": np.nan}
        if n >= MIN_BIN:
            cells = np.bincount(home[inside], minlength=n_images)
            drawn, _ = draw_images(blocks, cells[None], replicates, seed)
            weights = np.vstack([np.ones(n_images, int), drawn])
            right = hit & inside[cell]
            kept = right | (counted & ~hit)
            ap = 100 * _normalised_ap(right[kept], image[kept], cells, everything, weights)
            limits = interval(ap, int(blocks.max()) + 1, 0.95)
            ends = np.clip([limits["low"], limits["high"]], 0, 100)
            row |= {"AP50": ap[0], "AP50_low": ends[0], "AP50_high": ends[1]}
            row["found"] = 100 * right.sum() / n
        rows.append(row)
    return pd.DataFrame(rows)


def _one_ranking(ground_truth, predictions, iou_type):
    """All cultures' detections in falling order of score, at IoU 0.5."""
    matches = list(match_classes(ground_truth, predictions, iou_type).values())
    parts = [(m.image, m.score, m.hit[0], m.counted[0], m.cell[0]) for m in matches]
    image, score, hit, counted, cell = (np.concatenate(p) for p in zip(*parts, strict=True))
    order = np.argsort(-score, kind="stable")
    return image[order], score[order], hit[order], counted[order], cell[order]


def _normalised_ap(right, image, cells, everything, weights):
    """AP of each weighted set with the precision normalised to the number of all cells.

    Parameters
    ----------
    right : ndarray of bool, shape (D,)
        Detections in falling order of score: of a cell of the slice, or false.
    image : ndarray of int, shape (D,)
    cells, everything : ndarray of int, shape (I,)
        Cells of the slice, and all cells, in each image.
    weights : ndarray of int, shape (R, I)

    Returns
    -------
    ndarray of float, shape (R,)
    """
    result = np.empty(len(weights))
    for row, weight in enumerate(weights):
        times = weight[image]
        hits = np.flatnonzero(right)
        recall = np.cumsum(times * right)[hits] / (cells @ weight)
        false = np.cumsum(times * ~right)[hits]
        normalised = recall * (everything @ weight)
        precision = normalised / np.maximum(normalised + false, 1e-12)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        reached = np.searchsorted(RECALLS, recall, side="right")
        result[row] = (np.diff(reached, prepend=0) * best).sum() / RECALLS.size
    return result


def cells_by_bin(ground_truth):
    """Number of cells of each culture in each area range: area and class are tangled.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.

    Returns
    -------
    pandas.DataFrame of int
        Rows cultures, columns ``small``, ``medium``, ``large``; each cell stands once (one of
        exactly 324 or 961 px² in the larger range).
    """
    table = cell_properties(ground_truth)
    names = [c["name"] for c in sorted(ground_truth["categories"], key=lambda c: c["id"])]
    return (
        pd.crosstab(table["culture"], table["area_bin"])
        .reindex(index=names, columns=["small", "medium", "large"], fill_value=0)
        .rename_axis(index="culture", columns=None)
    )


def precision_recall(ground_truth, predictions, iou_type="segm"):
    """Precision at each recall, by culture, at IoU 0.5.

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
        Columns ``culture, n`` (cells), ``recall`` (the 101 of COCO), ``precision`` (the best at
        this recall or beyond, 0 where it is not reached), ``score`` (least score that reaches it,
        NaN where none does). Cultures without cells are left out.
    """
    names = {category["id"]: category["name"] for category in ground_truth["categories"]}
    parts = []
    for category, m in match_classes(ground_truth, predictions, iou_type).items():
        n = int(m.cells.sum())
        if not n:
            continue
        hit, score = m.hit[0][m.counted[0]], m.score[m.counted[0]]
        true = np.cumsum(hit)
        precision = np.maximum.accumulate((true / np.arange(1, len(hit) + 1))[::-1])[::-1]
        place = np.searchsorted(true / n, RECALLS, side="left")
        reached = place < len(hit)
        at = np.minimum(place, max(len(hit) - 1, 0))
        parts.append(
            pd.DataFrame(
                {
                    "culture": names[category],
                    "n": n,
                    "recall": RECALLS,
                    "precision": np.where(reached, precision[at], 0) if len(hit) else 0.0,
                    "score": np.where(reached, score[at], np.nan) if len(hit) else np.nan,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
