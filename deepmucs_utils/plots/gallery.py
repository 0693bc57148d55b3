"""All test images on one page that works offline: sortable by AP50, outlines on and off.

The page is one HTML file that holds its data: no server and nothing from the network is needed.
"""

import base64
import json
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np

from deepmucs_utils.analysis.error_kinds import ERRORS
from deepmucs_utils.analysis.operating_point import confident
from deepmucs_utils.analysis.per_image import image_table
from deepmucs_utils.data.cultures import COLOURS, LABELS
from deepmucs_utils.data.masks import decode
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.matching import Matched
from deepmucs_utils.evaluation.records import read_ground_truth, read_predictions
from deepmucs_utils.files import write_text
from deepmucs_utils.plots.images import GREY, TRAINING_SET_COLOURS

QUALITY = 85  # of the JPEGs
EPSILON = 0.6  # px by which an outline may be simplified


def write_gallery(test_set, predictions, thresholds, path):
    """Write the page.

    Parameters
    ----------
    test_set : path-like
        Folder of a co-culture set.
    predictions : dict of str to path-like
        COCO results list of each model, by its name; at most three have a colour of their own.
    thresholds : dict of str to float
        Smallest score that is shown, by the model's name; see `operating_point.best_threshold`.
    path : path-like
        The HTML file.

    Returns
    -------
    Path
        ``path``: about 20 kB for an image of 256 × 352 px.

    Raises
    ------
    DeepMuCSError
        If an image of the set cannot be read.
    """
    folder, path = Path(test_set), Path(path)
    truth = read_ground_truth(folder / "annotations.json")
    cultures = sorted(truth["categories"], key=lambda category: category["id"])
    place = {category["id"]: number for number, category in enumerate(cultures)}
    models = {}
    for name, source in predictions.items():
        records = read_predictions(source, truth)
        kept = _by_image(confident(records, thresholds[name]))
        models[name] = image_table(Matched(truth, records), thresholds[name]), kept
    cells_of = _by_image(truth["annotations"])
    images = []
    for number, entry in enumerate(truth["images"]):
        cells = [cell for cell in cells_of.get(entry["id"], []) if not cell.get("iscrowd")]
        size = entry["height"], entry["width"]
        results = []
        for table, kept in models.values():
            row = table.iloc[number]
            results.append(
                {
                    "ap50": None if np.isnan(row["AP50"]) else round(float(row["AP50"]), 1),
                    "dominant": row["dominant"],
                    "words": row["words"],
                    "found": [
                        [place[f["category_id"]], outline_path(f["segmentation"], size), f["score"]]
                        for f in kept.get(entry["id"], [])
                    ],
                }
            )
        images.append(
            {
                "name": entry["file_name"],
                "height": size[0],
                "width": size[1],
                "cells": len(cells),
                "pixels": _pixels(folder / "images" / entry["file_name"]),
                "truth": [
                    [place[c["category_id"]], outline_path(c["segmentation"], size)] for c in cells
                ],
                "models": results,
            }
        )
    colours = [*TRAINING_SET_COLOURS, *["#777777"] * len(models)]
    names = [category["name"] for category in cultures]
    data = {
        "models": [
            {"name": name, "colour": colour} for name, colour in zip(models, colours, strict=False)
        ],
        "errors": list(ERRORS),
        "cultures": [
            {"label": LABELS.get(name, name), "colour": COLOURS.get(name, "#777777")}
            for name in names
        ],
        "images": images,
    }
    page = (files(__package__) / "gallery.html").read_text(encoding="utf-8")
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page.replace("/*DATA*/", text))
    return path


def outline_path(segmentation, size):
    """The outline of a mask as an SVG path.

    Parameters
    ----------
    segmentation : dict or list
        RLE or polygons.
    size : tuple of int
        Height and width of the image, px.

    Returns
    -------
    str
        One closed line for each part of the mask; pixel centres lie at half integers.
    """
    mask = decode(segmentation, size).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    lines = []
    for contour in contours:
        points = cv2.approxPolyDP(contour, EPSILON, True)[:, 0] + 0.5
        lines.append("M" + "L".join(f"{x:g} {y:g}" for x, y in points) + "Z")
    return "".join(lines)


def _by_image(records):
    by_image = {}
    for record in records:
        by_image.setdefault(record["image_id"], []).append(record)
    return by_image


def _pixels(path):
    """The image between the grey levels that all figures show, as a data address."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise DeepMuCSError(f"{path}: not a readable image; compose the set again.")
    low, high = GREY
    stretched = np.clip((image.astype(np.float32) - low) * 255 / (high - low), 0, 255)
    coded = cv2.imencode(".jpg", stretched.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(coded[1].tobytes()).decode()
