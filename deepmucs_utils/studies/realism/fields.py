"""What a field of view holds, real or composed: how full it is, who touches whom, how much debris.

Patches may be indistinguishable and the whole still look wrong. These are the differences that one
sees from further away, in numbers.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from deepmucs_utils.data.livecell import AREA_LIMITS, read_image
from deepmucs_utils.data.masks import paint
from deepmucs_utils.evaluation.records import by_image, read_ground_truth
from deepmucs_utils.generation.artefacts import find_artefacts
from deepmucs_utils.generation.groups import contacts


def read_scenes(folder):
    """Images of a co-culture set and their visible masks, in the set's order.

    Parameters
    ----------
    folder : path-like

    Yields
    ------
    image : ndarray of uint8, shape (height, width)
    scene : Scene
        One row per cell; the masks of a set are disjoint.
    """
    folder = Path(folder)
    truth = read_ground_truth(folder)
    cells = by_image(truth["annotations"])
    for entry in truth["images"]:
        image = read_image(folder / "images" / entry["file_name"])
        yield image, paint([cell["segmentation"] for cell in cells[entry["id"]]], *image.shape)


def measure_field(image, scene):
    """What one image holds.

    Parameters
    ----------
    image : ndarray of uint8, shape (height, width)
    scene : Scene

    Returns
    -------
    dict of str to float
        ``cells``; ``cover, touching, enclosed, large``: shares of the image that cells cover, of
        cells that touch another, whose outline is by more than half in contact, and that are
        large by LIVECell's limits; ``nearest``: median distance from a cell's centre to the next
        one, px (NaN with a single cell); ``specks``: artefacts per 10⁵ px² free of cells, NaN where
        less is free than a twentieth of the image.
    """
    lengths, touching = contacts(scene)
    close = np.array([sum(around.values()) for around in touching])
    areas = np.array([mask.sum() for _, mask in scene.masks])
    boxes = np.array([box for box, _ in scene.masks], float).reshape(-1, 4)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    nearest = cKDTree(middles).query(middles, [2])[0]  # infinite for a cell alone
    specks, searched = find_artefacts(image, scene.mask)
    return {
        "cells": len(areas),
        "cover": scene.mask.mean(),
        "touching": (close > 0).mean(),
        "enclosed": (close > lengths / 2).mean(),
        "large": (areas >= AREA_LIMITS[1]).mean(),
        "nearest": np.median(nearest) if len(areas) > 1 else np.nan,
        "specks": 1e5 * len(specks) / searched if searched >= image.size / 20 else np.nan,
    }


def compare_fields(fields):
    """Median and extremes over images.

    Parameters
    ----------
    fields : dict of str to list of dict
        By kind, what `measure_field` gives for each image.

    Returns
    -------
    dict
        ``{kind: {quantity: [least, median, most]}}``, and ``images`` of each kind.
    """
    return {
        kind: pd.DataFrame(rows).quantile([0, 0.5, 1]).to_dict("list") | {"images": len(rows)}
        for kind, rows in fields.items()
    }


def fields_table(found) -> pd.DataFrame:
    """Fields as a table to read: the median image, and in brackets the least and the most.

    Parameters
    ----------
    found : dict
        From `compare_fields`.

    Returns
    -------
    DataFrame of str
        One row per quantity, one column per kind.
    """
    table = pd.DataFrame(found).drop(index="images")
    return table.map(lambda limits: "{1:.3g} ({0:.3g} to {2:.3g})".format(*limits))
