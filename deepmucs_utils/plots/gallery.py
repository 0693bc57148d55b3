"""All test images on one page that works offline: sortable by AP50, outlines on and off.

The page is one HTML file that holds its data; it needs no server and loads nothing.
"""

import base64
import json
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np

from deepmucs_utils.analysis.counting import confident
from deepmucs_utils.analysis.error_kinds import ERRORS
from deepmucs_utils.analysis.per_image import image_table
from deepmucs_utils.data.cultures import COLOURS, LABELS
from deepmucs_utils.data.livecell import read_image
from deepmucs_utils.data.masks import decode
from deepmucs_utils.evaluation.matching import Matched
from deepmucs_utils.evaluation.records import by_image, culture_names
from deepmucs_utils.files import write_text
from deepmucs_utils.plots.images import GREY, TRAINING_SET_COLOURS, contours

QUALITY = 85  # of the JPEGs
TOLERANCE = 0.6  # px, simplification of an outline
OTHER = "#777777"  # cultures and models without a colour of their own


def write_gallery(
    folder: str | Path, models: dict[str, Matched], thresholds: dict[str, float], path: str | Path
) -> Path:
    """Write the page.

    Parameters
    ----------
    folder : path-like
        A co-culture set.
    models : dict of str to Matched
        Predictions of each model on that set; the first three have a colour of their own.
    thresholds : dict of str to float
        Smallest score that is shown, by the model's name; see `counting.best_threshold`.
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
    folder, path = Path(folder), Path(path)
    truth = next(iter(models.values())).truth
    cells = by_image(cell for cell in truth["annotations"] if not cell.get("iscrowd"))
    images = [
        {
            "name": entry["file_name"],
            "height": entry["height"],
            "width": entry["width"],
            "pixels": _pixels(folder / "images" / entry["file_name"]),
            "truth": _outlines(cells[entry["id"]], entry),
            "models": [],
        }
        for entry in truth["images"]
    ]
    for name, matched in models.items():
        found = by_image(confident(matched.records, thresholds[name]))
        table = image_table(matched, thresholds[name])[["image_id", "AP50", "dominant", "words"]]
        results = table.replace({np.nan: None}).to_dict("records")
        for image, result in zip(images, results, strict=True):
            result["found"] = _outlines(found[result["image_id"]], image)
            image["models"].append(result)
    colours = dict(zip(models, TRAINING_SET_COLOURS, strict=False))
    data = {
        "models": [{"name": name, "colour": colours.get(name, OTHER)} for name in models],
        "errors": list(ERRORS),
        "cultures": {
            number: {"label": LABELS.get(name, name), "colour": COLOURS.get(name, OTHER)}
            for number, name in culture_names(truth).items()
        },
        "images": images,
    }
    page = (files(__package__) / "gallery.html").read_text(encoding="utf-8")
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page.replace("/*DATA*/", text))
    return path


def _outlines(records, image):
    """Category id, SVG path and score (none in ground truth) of each cell of an image."""
    size = image["height"], image["width"]
    return [
        [cell["category_id"], outline_path(cell["segmentation"], size), cell.get("score")]
        for cell in records
    ]


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
    parts = [
        cv2.approxPolyDP(contour, TOLERANCE, True)[:, 0] + 0.5
        for contour in contours(decode(segmentation, size))
    ]
    return "".join("M" + "L".join(f"{x:g} {y:g}" for x, y in part) + "Z" for part in parts)


def _pixels(path):
    """The image between the grey levels that all figures show, as a data URL."""
    shown = np.interp(read_image(path), GREY, (0, 255)).astype(np.uint8)
    coded = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(coded[1].tobytes()).decode()
