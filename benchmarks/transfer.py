"""`python -m benchmarks.transfer ROOT`: does what is learnt on the phantom hold on LIVECell?

The `small` network is trained on monocultures of a phantom, all cells in one class, and tested on
the annotated images of ROOT (genuine LIVECell), cut into windows of the demo's size. The result is
average precision at IoU 0.5 with all cells in one class; it is printed whatever it is. For
comparison the same is measured on the phantom's own test images.
"""

import argparse
import json
import tempfile
from pathlib import Path

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from deepmucs_utils.data.phantom import write_phantom
from deepmucs_utils.evaluation.real_scenes import write_monocultures
from deepmucs_utils.segmentation.predict import predict
from deepmucs_utils.segmentation.training import train

WINDOW = (256, 352)  # px
MOST = 2000  # detections an image, LIVECell's limit


def one_class(folder):
    """Turn a set's cultures into the one class ``cell``, in place."""
    path = folder / "annotations.json"
    content = json.loads(path.read_text())
    for cell in content["annotations"]:
        cell["category_id"] = 1
    content["categories"] = [{"id": 1, "name": "cell", "supercategory": "cell"}]
    path.write_text(json.dumps(content))
    return folder


def average_precision(annotations, predictions, task):
    """AP50 in percent, all areas, up to `MOST` detections an image."""
    truth = COCO(str(annotations))
    scores = COCOeval(truth, truth.loadRes(str(predictions)), task)
    scores.params.maxDets = [100, 500, MOST]
    scores.params.iouThrs = scores.params.iouThrs[:1]
    scores.evaluate()
    scores.accumulate()
    precision = scores.eval["precision"][0, :, 0, 0, -1]
    return float(100 * precision[precision > -1].mean())


def main():
    """Train, test, print."""
    parser = argparse.ArgumentParser("python -m benchmarks.transfer", description=__doc__)
    parser.add_argument("root", type=Path, metavar="ROOT", help="annotated LIVECell root")
    parser.add_argument("--phantom", type=Path, help="phantom root (default: a new one)")
    parser.add_argument("--images", type=int, default=160, help="windows to train on")
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--split", default="train", help="of ROOT (default %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        cache = folder / "cache"
        phantom = options.phantom or write_phantom(folder / "phantom", images=6)
        sets = {
            name: one_class(
                write_monocultures(root, folder / name, split, window=WINDOW, n_images=number,
                                   cache=cache)
            )
            for name, root, split, number in (
                ("train", phantom, "train", options.images),
                ("val", phantom, "val", 8),
                ("phantom", phantom, "test", 24),
                ("livecell", options.root, options.split, None),
            )
        }  # fmt: skip
        run = folder / "run"
        train(sets["train"], sets["val"], run, "small", options.iterations)
        for name in ("phantom", "livecell"):
            found = predict(run, sets[name], folder / f"{name}-predictions")
            truth = sets[name] / "annotations.json"
            scores = {task: average_precision(truth, found, task) for task in ("bbox", "segm")}
            cells = len(json.loads(truth.read_text())["annotations"])
            print(f"{name}: {cells} cells, AP50 " + ", ".join(
                f"{task} {score:.1f}" for task, score in scores.items()))  # fmt: skip


if __name__ == "__main__":
    main()
