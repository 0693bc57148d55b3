"""Does what is learnt on the phantom hold on LIVECell? `make studies STUDY=transfer ROOT=…`

The `small` network is trained on monocultures of a phantom, all cells in one class, and tested on
the annotated images of ROOT (genuine LIVECell), cut into windows of the demo's size. The result is
average precision at IoU 0.5 with all cells in one class, over all images and over those of each
culture. For comparison the same is measured on the phantom's own test images.

What limits it, as seen in the predictions: colonies are taken for one cell, since the phantom's
contacts stand out less from organelles than genuine ones do; of flat cells only the grainy middle
is found, since the phantom's grains reach to the edge; crossing processes are missed, since cells
of the phantom never overlap. A second network is trained on cultures of which a third of the flat
cells have few organelles and clear contacts, and a third a wide thin margin.
"""

import contextlib
import io
import json
from dataclasses import replace

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from deepmucs_utils.phantom.cultures import PHANTOM_CULTURES
from deepmucs_utils.phantom.write import write_phantom
from deepmucs_utils.segmentation.predict import predict
from deepmucs_utils.segmentation.samples import CoCultureSet
from deepmucs_utils.segmentation.training import train, training_config
from deepmucs_utils.studies.training.monocultures import Windows, write_monocultures

WINDOW = (256, 352)  # px
MOST = 2000  # detections per image, LIVECell's limit
IMAGES = 160  # windows to train on
ITERATIONS = 500


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
    """AP50 in percent over these images, all areas, up to `MOST` detections per image."""
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
    """AP50 of boxes and masks in percent: one record for all images, then one per culture."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        found = truth.loadRes(str(predictions))
    images = {"all": list(truth.imgs)}
    for number, image in truth.imgs.items():
        images.setdefault(image["block"].split()[0], []).append(number)
    return [
        {"culture": name, "cells": len(truth.getAnnIds(numbers, iscrowd=False))}
        | {task: average_precision(truth, found, task, numbers) for task in ("bbox", "segm")}
        for name, numbers in images.items()
    ]


def study(root, folder):
    """AP50 of networks trained on the phantom and on varied cultures; see `table`.

    Parameters
    ----------
    root : path-like
        Annotated LIVECell; its train split is tested on.
    folder : Path
        Of phantoms, sets, networks and predictions; an interrupted study resumes.

    Returns
    -------
    dict
        By training (``phantom``, ``varied``) and by test (``phantom``, ``livecell``).
    """
    cultures = [varied(culture) for culture in PHANTOM_CULTURES]
    phantom = _once(folder / "phantom", write_phantom, images=6, jobs=1)
    others = _once(folder / "varied", write_phantom, 6, cultures, seed=1, jobs=1)
    result = {}
    for name, source in (("phantom", phantom), ("varied", others)):
        sets = {
            kind: _monocultures(folder / f"{name}-{kind}", *choice)
            for kind, choice in {
                "train": (source, "train", IMAGES),
                "val": (phantom, "val", 8),
                "phantom": (phantom, "test", 24),
                "livecell": (root, "train", None),
            }.items()
        }
        images, validation = CoCultureSet(sets["train"]), CoCultureSet(sets["val"])
        cfg = training_config("small", images.categories, ITERATIONS)
        run = train(cfg, images, validation, folder / f"{name}-run", resume=True)
        result[name] = {}
        for test in ("phantom", "livecell"):
            found = predict(run, sets[test], folder / f"{name}-{test}-predictions")
            result[name][test] = table(sets[test] / "annotations.json", found)
    return result


def _once(folder, write, *values, **options):
    """A folder, written where it is missing."""
    return folder if folder.is_dir() else write(folder, *values, **options)


def _monocultures(folder, root, split, number):
    """Windows of a root with all cells in one class."""
    if not folder.is_dir():
        windows = Windows(WINDOW, number)
        write_monocultures(root, folder, split, windows, cache=folder.parent / "cache")
    return one_class(folder)
