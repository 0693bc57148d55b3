"""Which second detections of a cell are left out? `make studies STUDY=duplicates ROOT=LIVECELL`

A run of ``small`` on the phantom's co-cultures predicts three kinds of scenes: its own co-cultures,
where eight cultures meet, and windows of monoculture images of the phantom and of a root, which are
crowded. Box suppression per class at several overlaps (`BASES`) comes first; on what it leaves the
ways of `distinct` are compared: boxes, masks, masks over the smaller one; within and
across classes.

The way is chosen on the val scenes (of the root also train, where the sample has most images), by
the mask AP of all cells as one class, in which every second detection is false, mean over the
scenes. Only ways whose AP by class, the mean over the scenes, is not below that of `TODAY` are
admitted; of those within `MARGIN` of the best the first in `WAYS` is taken, where the simpler ones
stand first. The chosen way and today's are then scored on the test scenes, once.
"""

from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from tqdm import tqdm

from deepmucs_utils.evaluation.matching import Matched
from deepmucs_utils.evaluation.metrics import evaluate
from deepmucs_utils.evaluation.records import by_image, read_ground_truth, read_predictions
from deepmucs_utils.studies.training.distinct import distinct
from deepmucs_utils.studies.training.monocultures import Windows, write_monocultures
from deepmucs_utils.workflow import params, runs

WINDOW, WINDOWS = (256, 352), 64  # px; most windows of a scene kind
BASES = 0.3, 0.5, 0.7
MARGIN = 0.1  # points of AP, less than trainings with other seeds differ by


@dataclass(frozen=True)
class Way:
    """Box suppression per class at the IoU ``base``, then `distinct.distinct`."""

    base: float
    overlap: str = ""
    threshold: float = 0.5
    across: bool = True


TODAY = Way(0.3)
WAYS = [Way(base) for base in BASES] + [
    Way(base, overlap, threshold, across)
    for overlap, across, threshold, base in product(
        ("box", "mask", "smaller"), (True, False), (0.3, 0.5, 0.7), BASES
    )
    if (overlap, across) != ("box", False)  # that is a base
]


def study(root, folder):
    """The study ``duplicates`` of the registry, with the demo's run; see the module's text.

    Parameters
    ----------
    root : Path
        Annotated LIVECell, or a sample of it.
    folder : Path
        Of sets, run and predictions; what is there is used again.

    Returns
    -------
    dict
        ``choice``, one record per way with the means over the scenes; ``chosen``; ``test``, the
        scores of the chosen way and of today's by scene, with the AP of each culture.
    """
    p = params.check(set_name="Demo40", out_dir=Path(folder))
    return compare(runs.train(p), *(_scenes(p, root, part) for part in ("choice", "test")))


def compare(run, choice, test) -> dict:
    """Choose a way on some sets and score it on others, with one run; result as in `study`.

    Parameters
    ----------
    run : Path
        Its folder keeps the predictions.
    choice, test : dict of str to Path
        Folders of sets by name.
    """
    found = {way: {} for way in WAYS}
    for name, folder in choice.items():
        for way in tqdm(WAYS, name, disable=None):
            found[way][name] = _score(run, folder, way)
    rows = [asdict(way) | _mean(by_scene) for way, by_scene in found.items()]
    chosen = choose(rows)
    ways = {"chosen": Way(**{key: chosen[key] for key in asdict(TODAY)}), "today": TODAY}
    return {
        "choice": rows,
        "chosen": asdict(ways["chosen"]),
        "test": {
            name: {scene: _score(run, folder, way) for scene, folder in test.items()}
            for name, way in ways.items()
        },
    }


def choose(rows):
    """The record that the rule of the module's text takes; ``rows`` in the order of `WAYS`."""
    today = next(row for row in rows if row.items() >= asdict(TODAY).items())
    admitted = [row for row in rows if row["by class"] >= today["by class"]]
    best = max(row["one class"] for row in admitted)
    return next(row for row in admitted if row["one class"] >= best - MARGIN)


def _scenes(p, root, part):
    """Sets to choose or to test on."""
    split = "val" if part == "choice" else "test"
    sets = {"co-cultures": runs.compose(p, split)}
    sources = {"phantom": (runs.data_root(p), (split,))}
    sources["root"] = Path(root), ("train", "val") if part == "choice" else ("test",)
    for name, (source, splits) in sources.items():
        folder = p.out_dir / "sets" / f"{part}-{name}-{source.name}"
        if not folder.is_dir():
            windows = Windows(WINDOW, WINDOWS)
            write_monocultures(source, folder, splits, windows, cache=params.cache())
        sets[name] = folder
    return sets


def _score(run, folder, way):
    """Mask APs (%) of one way on one set, and how much it reports."""
    truth = read_ground_truth(folder)
    records = _distinct(read_predictions(_predict(run, folder, way.base), truth), way)
    metrics = evaluate(Matched(truth, records))
    per_class = metrics["segm"]["per_class"]
    return {
        "by class": metrics["segm"]["AP"],
        "one class": metrics["pooled"]["segm"]["AP"],
        "cells": metrics["n_cells"],
        "detections": len(records),
        "cultures": {name: values["AP"] for name, values in per_class.items() if values["n"]},
    }


def _predict(run, folder, base):
    """Predictions of a set with one overlap of boxes, unless they are there."""
    from deepmucs_utils.segmentation.predict import load_model, predict_files
    from deepmucs_utils.segmentation.samples import CoCultureSet

    path = run / "duplicates" / folder.name / f"{base}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        cfg, model = load_model(run)
        for predictor in model.roi_heads.box_predictor:
            predictor.test_nms_thresh = base
        predict_files(model, cfg, CoCultureSet(folder).paths(), path)
    return path


def _distinct(records, way):
    """The records that a way keeps."""
    kept = []
    for own in by_image(records).values():
        boxes = np.array([record["bbox"] for record in own])
        boxes[:, 2:] += boxes[:, :2]
        codes = [record["segmentation"] for record in own]
        classes = np.array([record["category_id"] for record in own])
        chosen = distinct(boxes, codes, classes, way.overlap, way.threshold, way.across)
        kept += [record for record, keep in zip(own, chosen, strict=True) if keep]
    return kept


def _mean(by_scene):
    return {
        key: float(np.mean([scores[key] for scores in by_scene.values()]))
        for key in ("by class", "one class", "detections")
    }
