"""`python -m benchmarks.transfer ROOT`: does what is learnt on the phantom hold on LIVECell?

The `small` network is trained on monocultures of a phantom, all cells in one class, and tested on
the annotated images of ROOT (genuine LIVECell), cut into windows of the demo's size. The result is
average precision at IoU 0.5 with all cells in one class, over all images and over those of each
culture; it is printed whatever it is. For comparison the same is measured on the phantom's own test
images. `--out` keeps sets, network and predictions, to be looked at.

What limits it, as seen in the predictions: colonies are taken for one cell, since the phantom's
contacts stand out less from organelles than genuine ones do; of flat cells only the grainy middle
is found, since the phantom's grains reach to the edge; crossing processes are missed, since cells
of the phantom never overlap. `--varied` trains on cultures of which a third of the flat cells have
few organelles and clear contacts, and a third a wide thin margin.
"""

import argparse
import contextlib
import io
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from deepmucs_utils.phantom.cultures import PHANTOM_CULTURES
from deepmucs_utils.phantom.write import write_phantom
from deepmucs_utils.segmentation.predict import predict
from deepmucs_utils.segmentation.samples import CoCultureSet
from deepmucs_utils.segmentation.training import train, training_config
from deepmucs_utils.studies.training.monocultures import Windows, write_monocultures

WINDOW = (256, 352)  # px
MOST = 2000  # detections an image, LIVECell's limit


def varied(culture):
    """The culture with each of its flat states also in two other forms, in equal parts."""
    states = []
    for state in culture.states:
        if not state.edge:
            states.append(state)
            continue
        third = replace(state, share=tuple(share / 3 for share in state.share))
        few = {"dots": 0.3 * state.dots, "texture": 0.5 * state.texture, "contact": -1.0}
        margin = {"dots": 0.6 * state.dots, "edge": state.edge + 4}
        states += [third, replace(third, **few), replace(third, **margin)]
    return replace(culture, states=tuple(states))


def one_class(folder):
    """Turn a set's cultures into the one class ``cell``, in place."""
    path = folder / "annotations.json"
    content = json.loads(path.read_text())
    for cell in content["annotations"]:
        cell["category_id"] = 1
    content["categories"] = [{"id": 1, "name": "cell", "supercategory": "cell"}]
    path.write_text(json.dumps(content))
    return folder


def average_precision(truth, found, task, images):
    """AP50 in percent over these images, all areas, up to `MOST` detections an image."""
    scores = COCOeval(truth, found, task)
    scores.params.imgIds = images
    scores.params.maxDets = [100, 500, MOST]
    scores.params.iouThrs = scores.params.iouThrs[:1]
    with contextlib.redirect_stdout(io.StringIO()):
        scores.evaluate()
        scores.accumulate()
    precision = scores.eval["precision"][0, :, 0, 0, -1]
    return float(100 * precision[precision > -1].mean())


def table(annotations, predictions):
    """AP50 of boxes and masks, in lines of text: all images, then culture by culture."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        found = truth.loadRes(str(predictions))
    images = {"all": list(truth.imgs)}
    for number, image in truth.imgs.items():
        images.setdefault(image["block"].split()[0], []).append(number)
    lines = []
    for name, numbers in images.items():
        cells = len(truth.getAnnIds(numbers, iscrowd=False))
        box, mask = (average_precision(truth, found, task, numbers) for task in ("bbox", "segm"))
        lines.append(f"  {name:<8}{cells:6d} cells  AP50 box {box:5.1f}  mask {mask:5.1f}")
    return "\n".join(lines)


def main():
    """Train, test, print."""
    parser = argparse.ArgumentParser("python -m benchmarks.transfer", description=__doc__)
    parser.add_argument("root", type=Path, metavar="ROOT", help="annotated LIVECell root")
    parser.add_argument("--phantom", type=Path, help="phantom root (default: a new one)")
    parser.add_argument("--images", type=int, default=160, help="windows to train on")
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--split", default="train", help="of ROOT (default %(default)s)")
    parser.add_argument("--varied", action="store_true", help="train on varied cultures")
    parser.add_argument("--out", type=Path, help="new folder to keep (default: nothing is kept)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.out or Path(scratch)
        cache = folder / "cache"
        phantom = options.phantom or write_phantom(folder / "root", images=6, jobs=1)
        source = phantom
        if options.varied:
            cultures = [varied(culture) for culture in PHANTOM_CULTURES]
            source = write_phantom(folder / "varied", 6, cultures, seed=1, jobs=1)
        sets = {
            name: one_class(
                write_monocultures(root, folder / name, split, Windows(WINDOW, number), cache=cache)
            )
            for name, root, split, number in (
                ("train", source, "train", options.images),
                ("val", phantom, "val", 8),
                ("phantom", phantom, "test", 24),
                ("livecell", options.root, options.split, None),
            )
        }
        run = folder / "run"
        source, validation = CoCultureSet(sets["train"]), CoCultureSet(sets["val"])
        cfg = training_config("small", source.categories, options.iterations)
        train(cfg, source, validation, run)
        for name in ("phantom", "livecell"):
            found = predict(run, sets[name], folder / f"{name}-predictions")
            print(f"{name}\n{table(sets[name] / 'annotations.json', found)}")


if __name__ == "__main__":
    main()
