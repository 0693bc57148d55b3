"""Read ground truth and predictions from COCO files, and refuse what cannot be evaluated.

COCO's own readers accept nearly anything: a mask of the wrong size counts as an object of area
zero, a misspelt image id as a detection nowhere, and both silently lower the AP. Here each record
is checked once, and the first faulty one is named.
"""

import math
from collections import defaultdict
from operator import itemgetter
from pathlib import Path

from hotcoco import mask as rle

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import read_json

#: Keys that each record of a section has.
SECTIONS = {
    "images": ("id", "height", "width"),
    "categories": ("id", "name"),
    "annotations": ("image_id", "category_id", "bbox", "area", "segmentation"),
}
PREDICTION_KEYS = ("image_id", "category_id", "bbox", "score", "segmentation")


def read_ground_truth(path) -> dict:
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
        The file's content. Annotations are renumbered from 1 in the file's order: pycocotools,
        and what follows it, takes a match with annotation 0 for no match. The file's own number is
        kept as ``source_id``.

    Raises
    ------
    DeepMuCSError
        If the file cannot be read or a record is incomplete or contradicts another.
    """
    path = Path(path)
    path = path / "annotations.json" if path.is_dir() else path
    content = read_json(path)
    kind = "a COCO annotation file, that is an object with images, annotations and categories"
    _check_type(content, dict, path, kind)
    for section, keys in SECTIONS.items():
        if not isinstance(content.get(section), list):
            raise DeepMuCSError(
                f"{path}: no list called {section!r}; a COCO annotation file has one."
            )
        for position, record in enumerate(content[section]):
            _check_keys(record, keys, f"{path}: {section}[{position}]")
    known, annotations = _known_ids(content), []
    for position, record in enumerate(content["annotations"]):
        where = f"{path}: annotations[{position}]"
        _check_values(record, SECTIONS["annotations"], known, where)
        if isinstance(record["segmentation"], dict):
            _check_rle(record, known, where)
        numbers = {"id": position + 1, "source_id": record.get("id", position + 1)}
        annotations.append(record | numbers)
    return {**content, "annotations": annotations}


def read_predictions(path, ground_truth) -> list[dict]:
    """Read and check a COCO results list.

    Parameters
    ----------
    path : str or Path
        Json list of detections: image_id, category_id, bbox ``[x, y, w, h]`` in pixels, score, and
        segmentation as compressed RLE. An empty list is a model that finds nothing.
    ground_truth : dict
        From `read_ground_truth`; its images and categories are the known ones.

    Returns
    -------
    list of dict

    Raises
    ------
    DeepMuCSError
        If the file cannot be read, or naming the first faulty record by its position.
    """
    path = Path(path)
    records = read_json(path)
    _check_type(records, list, path, "a COCO results list, that is a list of detections")
    known = _known_ids(ground_truth)
    for position, record in enumerate(records):
        where = f"{path}: record {position}"
        _check_keys(record, PREDICTION_KEYS, where)
        _check_values(record, PREDICTION_KEYS, known, where)
        _check_rle(record, known, where)
        if not isinstance(record["segmentation"]["counts"], str):
            raise DeepMuCSError(
                f"{where}: the mask's counts are a list, expected compressed RLE, that is a text."
            )
    return records


def one_class(ground_truth, records) -> tuple[dict, list[dict]]:
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
        Copies with category 1 in each record, in the order of the former categories: equal scores
        are then ranked as pycocotools ranks them without categories.
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


def culture_names(ground_truth) -> dict[int, str]:
    """Names of the cultures by category id, in the order of the ids."""
    names = {category["id"]: category["name"] for category in ground_truth["categories"]}
    return dict(sorted(names.items()))


def by_image(records) -> dict[int, list[dict]]:
    """Records by image id, in their order; an empty list for an image without."""
    grouped = defaultdict(list)
    for record in records:
        grouped[record["image_id"]].append(record)
    return grouped


def _known_ids(ground_truth):
    """Sizes by image id, and names by category id, by the key that refers to them."""
    images, categories = ground_truth["images"], ground_truth["categories"]
    return {
        "image_id": {image["id"]: [image["height"], image["width"]] for image in images},
        "category_id": {category["id"]: category["name"] for category in categories},
    }


def _is_number(value):
    return type(value) in (int, float) and math.isfinite(value)  # json's true is no number


def _is_box(value):
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


_EXPECTED = {
    "bbox": (_is_box, "the four numbers [x, y, width, height]"),
    "area": (_is_number, "a number"),
    "score": (_is_number, "a number"),
}


def _check_type(value, kind, where, expected):
    if not isinstance(value, kind):
        raise DeepMuCSError(f"{where}: found a {type(value).__name__}, expected {expected}.")


def _check_keys(record, keys, where):
    _check_type(record, dict, where, "an object")
    missing = [key for key in keys if key not in record]
    if missing:
        raise DeepMuCSError(f"{where}: has no {', '.join(missing)}; expected {', '.join(keys)}.")


def _check_values(record, keys, known, where):
    for key in keys:
        value = record[key]
        if key in known and not (isinstance(value, int) and value in known[key]):
            raise DeepMuCSError(
                f"{where}: {key} {value!r} is not among the {len(known[key])} of the ground truth; "
                "do the predictions belong to this set?"
            )
        if key in _EXPECTED and not _EXPECTED[key][0](value):
            raise DeepMuCSError(f"{where}: {key} is {value!r}, expected {_EXPECTED[key][1]}.")


def _check_rle(record, known, where):
    mask, size = record["segmentation"], known["image_id"][record["image_id"]]
    if not isinstance(mask, dict) or not {"size", "counts"} <= mask.keys():
        raise DeepMuCSError(f"{where}: segmentation is not an RLE with size and counts.")
    if mask["size"] != size:
        raise DeepMuCSError(
            f"{where}: the mask's size is {mask['size']}, the image's [height, width] is {size}."
        )
    try:
        rle.area(mask)
    except (TypeError, ValueError) as error:
        raise DeepMuCSError(f"{where}: the mask cannot be decoded ({error}).") from error
