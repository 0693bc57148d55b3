"""AP against what a cell's surroundings are like: crowded or alone, covered, cut by the border.

COCO's AP of some of the cells depends on how many they are, because the false detections stay the
same. So the precision is normalised (Hoiem et al., ECCV 2012, section 3): what it would be if the
set had as many of these cells as it has cells at all. Slices can then be compared.
"""

import numpy as np
import pandas as pd

from deepmucs_utils.data.livecell import AREA_LIMITS
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.matching import (
    RECALLS,
    ClassMatches,
    average_precision,
    cell_table,
    interpolated_precision,
)
from deepmucs_utils.evaluation.metrics import MIN_BIN
from deepmucs_utils.evaluation.records import culture_names
from deepmucs_utils.evaluation.resampling import clipped, draw_images, image_blocks, interval

SURROUNDINGS = 64.0  # px: cells whose centres are this close make a cell's surroundings crowded
REPLICATES = 200
#: Edges of the slices of each property; the last one is open.
EDGES = {
    "density": (0, 1, 2, 4, np.inf),
    "visible": (0, 0.8, 0.95, 1, np.inf),
    "border": (0, 1, 8, 24, np.inf),
}


def cell_properties(ground_truth, provenance=None) -> pd.DataFrame:
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
        One row per annotation, in the file's order: ``image`` (index), ``culture``, ``area_bin``
        (``small``, ``medium``, ``large``), ``density`` (other cells whose centre is within
        `SURROUNDINGS`), ``border`` (px from the bounding box to the image's border), ``visible``
        (share of the pasted cell that others and the border left; NaN without provenance).

    Raises
    ------
    DeepMuCSError
        If the provenance lacks a cell.
    """
    cells, images = cell_table(ground_truth), ground_truth["images"]
    boxes = np.array([a["bbox"] for a in ground_truth["annotations"]], float).reshape(-1, 4)
    size = np.array([(image["width"], image["height"]) for image in images])[cells["image"]]
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    border = np.minimum(low, size - high).min(axis=1, initial=np.inf)
    centre = (low + high) / 2
    density = np.zeros(len(cells), int)
    for rows in cells.groupby("image").indices.values():
        distance = np.linalg.norm(centre[rows][:, None] - centre[rows], axis=2)
        density[rows] = (distance <= SURROUNDINGS).sum(axis=1) - 1
    area_bin = np.array(["small", "medium", "large"])[np.digitize(cells["area"], AREA_LIMITS)]
    table = cells[["image", "culture"]].assign(
        area_bin=area_bin, density=density, border=np.maximum(border, 0), visible=np.nan
    )
    if provenance is not None:
        visible = provenance.set_index("annotation_id")["visible"]
        missing = cells["annotation_id"][~cells["annotation_id"].isin(visible.index)]
        if len(missing):
            raise DeepMuCSError(
                f"provenance: has no row for annotation {missing.iloc[0]}; expected that of the "
                "same set."
            )
        table["visible"] = visible.loc[cells["annotation_id"]].to_numpy()
    return table


def ap_by(matched, values, edges) -> pd.DataFrame:
    """AP50 of the cells in each slice of a property, all cultures in one ranking.

    Parameters
    ----------
    matched : Matched
    values : sequence of float
        The property, one value per annotation; a column of `cell_properties`.
    edges : sequence of float
        Slices hold their lower edge.

    Returns
    -------
    pandas.DataFrame
        One row per slice: ``low``, ``high`` (edges), ``n`` (cells), ``AP50``, ``AP50_low``,
        ``AP50_high`` (percent; 95 % interval over donor blocks as in `intervals.bootstrap`; NaN
        below `MIN_BIN` cells), ``found`` (percent of the cells that
        any detection of their culture found).
    """
    ranking = matched.ranking()
    hit, counted = ranking.hit[0], ranking.counted[0]
    home, true = matched.cells["image"], ~matched.cells["crowd"].to_numpy()
    values, n_images = np.asarray(values, float), ranking.cells.size
    blocks, _ = image_blocks(matched)
    rows = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = true & (values >= low) & (values < high)
        row = {"low": low, "high": high, "n": int(inside.sum())}
        if row["n"] >= MIN_BIN:
            cells = np.bincount(home[inside], minlength=n_images)
            drawn, _ = draw_images(blocks, cells[None], REPLICATES, seed=0)
            weights = np.vstack([np.ones(n_images, int), drawn])
            right = hit & inside[ranking.cell[0]]
            kept = right | (counted & ~hit)
            part = ClassMatches(ranking.image[kept], right[None, kept], kept[None, kept], cells)
            ap = 100 * average_precision(part, weights, among=ranking.cells)[0][0]
            limits = clipped(interval(ap, int(blocks.max()) + 1))
            row |= {"AP50": ap[0], "AP50_low": limits["low"], "AP50_high": limits["high"]}
            row["found"] = 100 * right.sum() / row["n"]
        rows.append(row)
    columns = ["low", "high", "n", "AP50", "AP50_low", "AP50_high", "found"]
    return pd.DataFrame(rows, columns=columns)


def cells_by_bin(ground_truth) -> pd.DataFrame:
    """Number of cells of each culture in each area range, for area and culture are confounded.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.

    Returns
    -------
    pandas.DataFrame of int
        Rows cultures, columns ``small``, ``medium``, ``large``; each cell is counted once (one of
        exactly 324 or 961 px² in the larger range).
    """
    table = cell_properties(ground_truth)
    columns = ["small", "medium", "large"]
    return (
        pd.crosstab(table["culture"], table["area_bin"])
        .reindex(index=culture_names(ground_truth).values(), columns=columns, fill_value=0)
        .rename_axis(index="culture", columns=None)
    )


def precision_recall(matched) -> pd.DataFrame:
    """Precision at each recall, by culture, at IoU 0.5.

    Parameters
    ----------
    matched : Matched

    Returns
    -------
    pandas.DataFrame
        Columns ``culture, n`` (cells), ``recall`` (the 101 of COCO), ``precision`` (the best at
        this recall or beyond, 0 where it is not reached), ``score`` (least score that reaches it,
        NaN where none does). Cultures without cells are left out.
    """
    parts = []
    for culture, matches in matched.by_culture().items():
        n = int(matches.cells.sum())
        if not n:
            continue
        counted = matches.counted[0]
        places = np.flatnonzero(matches.hit[0][counted])
        true = np.arange(1, places.size + 1)
        best, width = interpolated_precision(true / (places + 1), true / n)
        curve = pd.DataFrame({"precision": best, "score": matches.score[counted][places]})
        curve = curve.loc[np.repeat(curve.index, width)].reset_index(drop=True)
        curve = curve.reindex(range(RECALLS.size)).fillna({"precision": 0.0})
        if counted.any():
            curve.loc[0, "score"] = matches.score[counted][0]  # recall 0 needs no cell to be found
        parts.append(curve.assign(culture=culture, n=n, recall=RECALLS))
    columns = ["culture", "n", "recall", "precision", "score"]
    return pd.concat(parts, ignore_index=True)[columns]
