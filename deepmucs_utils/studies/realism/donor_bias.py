"""How donors differ from all cells of their culture: what can be cut out is a selection."""

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from skimage.measure import regionprops_table

from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.data.livecell import CACHE, LiveCell, read_index
from deepmucs_utils.data.masks import paint

QUANTITIES = ("area", "aspect", "solidity", "sd")
_KINDS = {"cell": "single donors", "group": "in groups"}


def compare_donors(root, bank, cache=CACHE, jobs=2):
    """Medians over all whole cells of a split, over single donors and over cells in group donors.

    Parameters
    ----------
    root : path-like
    bank : Bank
        Of one of its splits.
    cache : path-like
    jobs : int

    Returns
    -------
    DataFrame
        A row for each culture and kind (``all cells``, without those that the border cuts;
        ``single donors``; ``in groups``). Columns ``cells`` (number) and medians of ``area`` (px²),
        ``aspect`` (ratio of the axes of the ellipse with the same second moments), ``solidity``
        (share of the convex hull) and ``sd`` (standard deviation inside, grey levels).
    """
    livecell = LiveCell(root)
    index = read_index(livecell, bank.facts["split"], cache)
    images = [(name, cells) for name, cells in index.groupby("file_name")]
    work = (
        delayed(measure_cells)(livecell.image(name), cells["polygon"].tolist())
        for name, cells in images
    )
    parts = []
    for (_, cells), found in zip(images, Parallel(n_jobs=jobs)(work), strict=True):
        found["annotation_id"] = cells["annotation_id"].to_numpy()[found.pop("row")]
        parts.append(found.assign(culture=cells["culture"].iloc[0]))
    table = pd.concat(parts, ignore_index=True)
    kinds = bank.cutouts["kind"].repeat(bank.cutouts["cells"]).to_numpy()
    chosen = {"all cells": table[~table["cut"]]}
    for kind, name in _KINDS.items():
        own = bank.members.loc[kinds == kind, "annotation_id"]
        chosen[name] = table[table["annotation_id"].isin(own)]
    found = pd.concat(chosen, names=["kind"]).groupby(["culture", "kind"], sort=False)
    medians = found[list(QUANTITIES)].median()
    medians.insert(0, "cells", found.size())
    order = [(culture, kind) for culture in CULTURE_NAMES for kind in chosen]
    return medians.loc[[one for one in order if one in medians.index]]


def measure_cells(image, polygons):
    """Area, shape and texture of the cells of an image, as far as they are visible.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)
    polygons : list of list of array_like
        For each cell its parts ``[x0, y0, x1, y1, …]``, px.

    Returns
    -------
    DataFrame
        ``row`` (place in ``polygons``), the columns `QUANTITIES` and ``cut`` (whether the image's
        border cuts the cell).
    """
    scene = paint(polygons, *image.shape)
    names = ("label", "area", "axis_major_length", "axis_minor_length", "solidity", "bbox")
    found = pd.DataFrame(regionprops_table(scene.owner + 1, properties=names))
    rows = found["label"].to_numpy() - 1
    values = image[scene.mask].astype(float)
    owners = scene.owner[scene.mask]
    number = np.bincount(owners)[rows]
    mean, square = (np.bincount(owners, v)[rows] / number for v in (values, values**2))
    edges = found[[f"bbox-{side}" for side in range(4)]].to_numpy()
    return pd.DataFrame(
        {
            "row": rows,
            "area": found["area"],
            "aspect": found["axis_major_length"] / found["axis_minor_length"].clip(lower=0.1),
            "solidity": found["solidity"],
            "sd": np.sqrt(np.maximum(square - mean**2, 0)),
            "cut": (edges[:, :2] == 0).any(1) | (edges[:, 2:] == image.shape).any(1),
        }
    )
