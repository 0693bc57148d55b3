"""Evaluation of a test set of the published size: metrics alone, then with bootstrap intervals."""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
from pycocotools import mask as rle

from deepmucs_utils.data.cultures import CATEGORIES
from deepmucs_utils.evaluation.intervals import evaluate_with_intervals
from deepmucs_utils.evaluation.matching import match_files
from deepmucs_utils.evaluation.metrics import evaluate
from deepmucs_utils.generation.recipes import PUBLISHED

SIZE = 520, 704
CORNERS = 24
TIMES_AS_MANY = 3  # detections per cell


def write_test_set(folder, seed=0):
    """Ellipses in the numbers of DeepMuCS_test, each found once well and twice badly.

    Returns
    -------
    ground_truth, predictions : Path
    """
    rng = np.random.default_rng(seed)
    published = PUBLISHED.loc["DeepMuCS_test"]
    n_images = int(published["images"])
    counts = [int(published[category["name"]]) for category in CATEGORIES]
    category = np.repeat([entry["id"] for entry in CATEGORIES], counts)
    image = rng.integers(n_images, size=category.size)
    centre = rng.uniform([20, 20], [SIZE[1] - 20, SIZE[0] - 20], size=(category.size, 2))
    radius = rng.uniform(6, 20, category.size)

    cells, found = [], []
    for index, (name, where, size) in enumerate(zip(category, centre, radius, strict=True)):
        ids = {"image_id": int(image[index]), "category_id": int(name)}
        cells.append(ids | {"id": index + 1, "iscrowd": 0} | _ellipse(where, size))
        for spread in (1, 4, 8)[:TIMES_AS_MANY]:
            guess = _ellipse(where + rng.normal(0, spread, 2), size * rng.uniform(0.9, 1.1))
            named = int(name) if rng.random() < 0.85 else int(rng.choice(category))
            score = float(rng.random() / spread)
            found.append(ids | guess | {"category_id": named, "score": score})
    images = [
        {"id": i, "file_name": f"{i:06d}.png", "height": SIZE[0], "width": SIZE[1], "block": i % 12}
        for i in range(n_images)
    ]
    truth = {"images": images, "annotations": cells, "categories": CATEGORIES}
    paths = Path(folder) / "annotations.json", Path(folder) / "predictions.json"
    for path, content in zip(paths, (truth, found), strict=True):
        path.write_text(json.dumps(content))
    return paths


def _ellipse(centre, radius):
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    points = centre + radius * np.column_stack([np.cos(angle), 0.8 * np.sin(angle)])
    code = rle.frPyObjects([points.ravel().tolist()], *SIZE)[0]
    return {
        "bbox": rle.toBbox(code).tolist(),
        "area": float(rle.area(code)),
        "segmentation": {"size": list(SIZE), "counts": code["counts"].decode()},
    }


def run():
    """Time the evaluation of 1,564 images.

    Returns
    -------
    dict
        Counts, and seconds of each step.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = write_test_set(folder)
        result = {"images": int(PUBLISHED.loc["DeepMuCS_test", "images"])}
        start = time.perf_counter()
        metrics = evaluate(match_files(*paths))
        result["evaluate_s"] = time.perf_counter() - start
        result["cells"] = metrics["n_cells"]
        result["detections"] = TIMES_AS_MANY * metrics["n_cells"]
        start = time.perf_counter()
        evaluate_with_intervals(match_files(*paths), replicates=1000)
        result["evaluate_with_1000_replicates_s"] = time.perf_counter() - start
    return result


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
