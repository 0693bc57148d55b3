"""Synthetic scenes as COCO files: squares whose AP can be worked out by eye, and random blobs."""

import json

import cv2
import numpy as np
from pycocotools import mask as rle

from deepmucs_utils.data.cultures import CATEGORIES, CATEGORY_ID
from deepmucs_utils.evaluation.matching import Matched

SIZE = [100, 100]


def annotate(mask):
    """bbox, area and compressed RLE of a boolean mask."""
    code = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "bbox": rle.toBbox(code).tolist(),
        "area": float(rle.area(code)),
        "segmentation": {"size": list(mask.shape), "counts": code["counts"].decode()},
    }


def square(x, y, side=10):
    """A square of `side` px in an image of 100 x 100 px."""
    mask = np.zeros(SIZE, bool)
    mask[y : y + side, x : x + side] = True
    return annotate(mask)


def cell(culture, where, image=0, **more):
    return {"image_id": image, "category_id": CATEGORY_ID[culture], "iscrowd": 0} | where | more


def detection(culture, where, score, image=0):
    record = cell(culture, where, image) | {"score": score}
    return {key: record[key] for key in record if key not in ("area", "iscrowd")}


def dataset(cells, n_images=1, size=SIZE, blocks=None):
    images = [
        {"id": index, "file_name": f"{index:06d}.png", "height": size[0], "width": size[1]}
        for index in range(n_images)
    ]
    if blocks is not None:
        images = [image | {"block": block} for image, block in zip(images, blocks, strict=True)]
    annotations = [record | {"id": index} for index, record in enumerate(cells)]
    return {"images": images, "annotations": annotations, "categories": CATEGORIES}


def blobs(seed, n_images, per_image, size=(128, 128), cultures=8, ties=False, crowd=0.0):
    """Random ellipses, each with two imperfect detections; returns data set and detections."""
    rng = np.random.default_rng(seed)
    names = list(CATEGORY_ID)[:cultures]
    cells, found = [], []
    for image in range(n_images):
        for _ in range(per_image):
            centre, radius = rng.uniform(0, size[0], 2), rng.uniform(5, 20)
            culture = rng.choice(names)
            where = _ellipse(rng, size, centre, radius)
            cells.append(cell(culture, where, image, iscrowd=int(rng.random() < crowd)))
            for _ in range(2):
                score = round(float(rng.random()), 1 if ties else 9)
                named = culture if rng.random() < 0.8 else rng.choice(names)
                near = centre + rng.normal(0, 1, 2)
                guess = _ellipse(rng, size, near, radius * rng.uniform(0.9, 1.1))
                found.append(detection(named, guess, score, image))
    return dataset(cells, n_images, list(size)), found


def _ellipse(rng, size, centre, radius):
    mask = np.zeros(size, np.uint8)
    centre = np.clip(centre, 0, np.array(size) - 1).astype(int).tolist()
    axes = [int(radius), int(radius * rng.uniform(0.8, 1))]
    cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return annotate(mask.astype(bool))


def write(folder, ground_truth, detections, name="predictions"):
    """Write both as json; returns the two paths."""
    paths = folder / "annotations.json", folder / f"{name}.json"
    for path, content in zip(paths, (ground_truth, detections), strict=True):
        path.write_text(json.dumps(content))
    return paths


def loaded(cells, detections, n_images=1, blocks=None):
    """Ground truth and predictions as `records` gives them, without the files."""
    truth = dataset(cells, n_images, blocks=blocks)
    truth["annotations"] = [
        record | {"id": place + 1, "source_id": record["id"]}
        for place, record in enumerate(truth["annotations"])
    ]
    return truth, detections


def matched(cells, detections, n_images=1, blocks=None):
    """`loaded`, as `Matched`."""
    return Matched(*loaded(cells, detections, n_images, blocks))


#: Three cells of A172 in one image, all outlined exactly; the third is called BV2.
THREE = [square(10, 10), square(40, 40), square(70, 10)]
THREE_CELLS = [cell("A172", place) for place in THREE]
ONE_WRONG_CLASS = [
    detection("A172", THREE[0], 0.9),
    detection("A172", THREE[1], 0.8),
    detection("BV2", THREE[2], 0.7),
]
