"""What a field of view holds, real or composed: how full it is, who touches whom, how much debris.

Patches may be indistinguishable and the whole still look wrong. These are the differences that one
sees from further away, in numbers.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from deepmucs_utils.data.livecell import AREA_LIMITS
from deepmucs_utils.data.masks import paint
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
    coco = json.loads((folder / "annotations.json").read_text())
    codes = {entry["id"]: [] for entry in coco["images"]}
    for cell in coco["annotations"]:
        codes[cell["image_id"]].append(cell["segmentation"])
    for entry in coco["images"]:
        image = cv2.imread(str(folder / "images" / entry["file_name"]), cv2.IMREAD_GRAYSCALE)
        yield image, paint(codes[entry["id"]], *image.shape)


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
    specks, searched = find_artefacts(image, scene.mask)
    return {
        "cells": float(len(areas)),
        "cover": float(scene.mask.mean()),
        "touching": float((close > 0).mean()),
        "enclosed": float((close > lengths / 2).mean()),
        "large": float((areas >= AREA_LIMITS[1]).mean()),
        "nearest": float(np.median(cKDTree(middles).query(middles, 2)[0][:, 1]))
        if len(middles) > 1
        else np.nan,
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
    found = {}
    for kind, rows in fields.items():
        table = pd.DataFrame(rows).quantile([0, 0.5, 1])
        found[kind] = table.to_dict("list") | {"images": len(rows)}
    return found


def fields_table(found):
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
