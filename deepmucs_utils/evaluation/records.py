"""Read ground truth and predictions from COCO files, and refuse what cannot be evaluated.

COCO's own readers accept nearly anything: a mask of the wrong size counts as an object of area
zero, a misspelt image id as a detection nowhere, and both quietly lower the AP. Here each record is
looked at once, and the first faulty one is named.
"""

import json
import math
from operator import itemgetter
from pathlib import Path

from hotcoco import mask as rle

from deepmucs_utils.errors import DeepMuCSError

ANNOTATION_KEYS = ("image_id", "category_id", "bbox", "area", "segmentation")
PREDICTION_KEYS = ("image_id", "category_id", "bbox", "score", "segmentation")


def read_ground_truth(path):
    """Read and check a COCO annotation file.

    Parameters
    ----------
    path : str or Path
        A co-culture set's folder, or a COCO json with ``images`` (id, height, width; optionally
        block), ``categories`` (id, name) and ``annotations`` (image_id, category_id, bbox, area,
        segmentation as RLE or polygons; optionally iscrowd).

    Returns
    -------
    dict
        The file's content. Annotations are numbered anew from 1 in the file's order: pycocotools,
        and what follows it, takes a match with annotation 0 for no match. The file's own number is
        kept as ``source_id``.

    Raises
    ------
    DeepMuCSError
        If the file cannot be read or a record is incomplete or contradicts another.
    """
    path = Path(path)
    path = path / "annotations.json" if path.is_dir() else path
    content = _read_json(path)
    if not isinstance(content, dict):
        raise DeepMuCSError(
            f"{path}: found a {type(content).__name__}, expected a COCO annotation file, that is "
            "an object with images, annotations and categories."
        )
    required = {
        "images": ("id", "height", "width"),
        "categories": ("id", "name"),
        "annotations": ANNOTATION_KEYS,
    }
    for section, keys in required.items():
        if not isinstance(content.get(section), list):
            raise DeepMuCSError(
                f"{path}: no list called {section!r}; a COCO annotation file has one."
            )
        for position, record in enumerate(content[section]):
            _check_keys(record, keys, f"{path}: {section}[{position}]")

    sizes = _image_sizes(content)
    categories = {category["id"] for category in content["categories"]}
    annotations = []
    for position, record in enumerate(content["annotations"]):
        where = f"{path}: annotations[{position}]"
        _check_ids(record, sizes, categories, where)
        _check_box(record["bbox"], where)
        _check_number(record["area"], "area", where)
        if isinstance(record["segmentation"], dict):
            _check_rle(record["segmentation"], sizes[record["image_id"]], where)
        numbers = {"id": position + 1, "source_id": record.get("id", position + 1)}
        annotations.append(record | numbers)
    return {**content, "annotations": annotations}


def read_predictions(path, ground_truth):
    """Read and check a COCO results list.

    Parameters
    ----------
    path : str or Path
        Json list of detections: image_id, category_id, bbox ``[x, y, w, h]`` in pixels, score, and
        segmentation as compressed RLE. An empty list is a model that finds nothing.
    ground_truth : dict
        What `read_ground_truth` returned; its images and categories are the known ones.

    Returns
    -------
    list of dict

    Raises
    ------
    DeepMuCSError
        If the file cannot be read, or naming the first faulty record by its position.
    """
    path = Path(path)
    records = _read_json(path)
    if not isinstance(records, list):
        raise DeepMuCSError(
            f"{path}: found a {type(records).__name__}, expected a COCO results list, that is a "
            "list of detections."
        )
    sizes = _image_sizes(ground_truth)
    categories = {category["id"] for category in ground_truth["categories"]}
    for position, record in enumerate(records):
        where = f"{path}: record {position}"
        _check_keys(record, PREDICTION_KEYS, where)
        _check_ids(record, sizes, categories, where)
        _check_box(record["bbox"], where)
        _check_number(record["score"], "score", where)
        _check_rle(record["segmentation"], sizes[record["image_id"]], where)
        if not isinstance(record["segmentation"]["counts"], str):
            raise DeepMuCSError(
                f"{where}: the mask's counts are a list, expected compressed RLE, that is a text."
            )
    return records


def one_class(ground_truth, records):
    """Take all cultures for one class, called ``cell``.

    Parameters
    ----------
    ground_truth : dict
        From `read_ground_truth`.
    records : list of dict
        From `read_predictions`.

    Returns
    -------
    ground_truth, records
        Copies with another category id in each record, in the order of the former ids: so equal
        scores are ranked as pycocotools ranks them without categories.
    """

    cells, detections = (
        [entry | {"category_id": 1} for entry in sorted(entries, key=itemgetter("category_id"))]
        for entries in (ground_truth["annotations"], records)
    )
    truth = ground_truth | {
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [cell | {"id": place + 1} for place, cell in enumerate(cells)],
    }
    return truth, detections


def _read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DeepMuCSError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise DeepMuCSError(f"{path}: not a json file ({error}).") from error


def _image_sizes(ground_truth):
    return {image["id"]: [image["height"], image["width"]] for image in ground_truth["images"]}


def _check_keys(record, keys, where):
    if not isinstance(record, dict):
        raise DeepMuCSError(f"{where}: found a {type(record).__name__}, expected an object.")
    missing = [key for key in keys if key not in record]
    if missing:
        raise DeepMuCSError(f"{where}: has no {', '.join(missing)}; expected {', '.join(keys)}.")


def _check_ids(record, images, categories, where):
    for key, known in (("image_id", images), ("category_id", categories)):
        value = record[key]
        if not isinstance(value, int) or value not in known:
            raise DeepMuCSError(
                f"{where}: {key} {value!r} is not among the {len(known)} of the ground truth; do "
                "the predictions belong to this set?"
            )


def _is_number(value):
    return type(value) in (int, float) and math.isfinite(value)  # json's true is no number


def _check_number(value, name, where):
    if not _is_number(value):
        raise DeepMuCSError(f"{where}: {name} is {value!r}, expected a number.")


def _check_box(box, where):
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise DeepMuCSError(
            f"{where}: bbox is {box!r}, expected the four numbers [x, y, width, height]."
        )


def _check_rle(segmentation, size, where):
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise DeepMuCSError(f"{where}: segmentation is not an RLE with size and counts.")
    if segmentation["size"] != size:
        raise DeepMuCSError(
            f"{where}: the mask's size is {segmentation['size']}, the image's [height, width] is "
            f"{size}."
        )
    try:
        rle.area(segmentation)
    except (TypeError, ValueError) as error:
        raise DeepMuCSError(f"{where}: the mask cannot be decoded ({error}).") from error
