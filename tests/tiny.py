"""A co-culture set of a few discs, and a training so small that a step takes a fraction of a
second."""

import json

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from deepmucs_utils.data.cultures import CATEGORIES
from deepmucs_utils.segmentation.training import training_config

SIZE = 64


def write_set(folder, images=6, seed=0, categories=CATEGORIES):
    """Write images with three discs each: dark ones of class 1, bright ones of class 2."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    content = {"images": [], "annotations": [], "categories": categories}
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for index in range(images):
        image = rng.normal(128, 2, (SIZE, SIZE))
        for place in ((16, 16), (16, 48), (48, 32)):
            bright = int(rng.integers(2))
            radius = rng.uniform(6, 11)
            disc = (rows - place[0]) ** 2 + (columns - place[1]) ** 2 < radius**2
            image[disc] += 50 if bright else -50
            rle = coco_mask.encode(np.asfortranarray(disc.astype(np.uint8)))
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": index,
                    "category_id": categories[bright]["id"],
                    "bbox": coco_mask.toBbox(rle).tolist(),
                    "area": int(disc.sum()),
                    "iscrowd": 0,
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                }
            )
        name = f"{index:06d}.png"
        cv2.imwrite(str(folder / "images" / name), image.clip(0, 255).astype(np.uint8))
        content["images"].append({"id": index, "file_name": name, "height": SIZE, "width": SIZE})
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def tiny_config(iterations=4, **options):
    """``small`` with thin heads, two images per iteration, validated every second iteration."""
    cfg = training_config("small", CATEGORIES, iterations, **options)
    cfg.MODEL.DEVICE = "cpu"
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.SOLVER.CHECKPOINT_PERIOD = cfg.TEST.EVAL_PERIOD = 2
    cfg.TEST.DETECTIONS_PER_IMAGE = 5
    return cfg
