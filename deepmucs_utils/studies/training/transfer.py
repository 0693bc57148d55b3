"""Does what is learnt on the phantom hold on LIVECell? `deepmucs transfer ROOT`

The ``small`` network is trained on monocultures of phantoms, all cells as one class, and tested on
the annotated images of a root, both cut into windows of the demo's size. Beside it stands the
ceiling: the same network trained as long on windows of the root's other splits. Nothing is chosen
by a validation: the weights at the end are tested.

The score is average precision at an IoU of 0.5, counting up to 2,000 detections per image.
"""

import sys
import time
import warnings
from pathlib import Path

import pandas as pd
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from deepmucs_utils.data.cultures import LABELS
from deepmucs_utils.data.livecell import LiveCell, read_images
from deepmucs_utils.evaluation.matching import Matched
from deepmucs_utils.evaluation.metrics import evaluate
from deepmucs_utils.evaluation.records import one_class, read_ground_truth, read_predictions
from deepmucs_utils.files import read_json, write_json
from deepmucs_utils.phantom.cultures import PHANTOM_CULTURES
from deepmucs_utils.studies.registry import document
from deepmucs_utils.studies.training.monocultures import Windows, write_monocultures
from deepmucs_utils.workflow import params, runs

WINDOW = (256, 352)  # px
WINDOWS = 320  # of a phantom, to train on
ITERATIONS, TRAININGS = 500, 3
CEILING = "ceiling"
_WINDOWS_PER_IMAGE = 4
_VALIDATED = 4  # windows; a training needs some, though nothing depends on them here


def transfer(
    root, split="test", out=None, phantoms=None, trainings=TRAININGS, iterations=ITERATIONS,
    windows=WINDOWS, jobs=1,
) -> dict:  # fmt: skip
    """Train on phantoms and on a root's other splits, and test on a split of the root.

    Parameters
    ----------
    root : path-like
        Annotated LIVECell, a sample of it, or a phantom.
    split : {"train", "val", "test"}
        To test on. The ceiling is trained on the others of train and val, where the root has them.
    out : path-like, optional
        Folder of windows, networks and predictions; what is there is used again. Default in the
        cache.
    phantoms : dict of str to path-like, optional
        Other annotated roots to train on, by their names in the table. One called ``phantom``
        takes the place of the phantom that is written otherwise.
    trainings : int
        Of each kind, with the seeds from 0 on.
    iterations, windows : int
        Of each training; windows of each phantom's train split, the cultures in turn.
    jobs : int
        Trainings side by side, each a process with one thread.

    Returns
    -------
    dict
        As in ``book/measured``, see `registry.document`; its ``result`` has ``scores``, one record
        per training, seed and culture. Also written to ``out/transfer-SPLIT.json``.

    Raises
    ------
    DeepMuCSError
        If a root lacks the split, or an image is smaller than a window.
    """
    begun, root = time.monotonic(), LiveCell(root)
    root.annotation_file(split)  # before anything is written
    out = Path(out or params.cache() / f"transfer-{runs.code_state('data', 'segmentation')}")
    with runs.alone(out):
        sources = {"phantom": None} | (phantoms or {})
        images = -(-windows // (_WINDOWS_PER_IMAGE * len(PHANTOM_CULTURES)))
        own = out / f"phantom-{runs.code_state('phantom')}-{images}"
        sources["phantom"] = sources["phantom"] or runs.phantom(own, images=images)
        chosen = {name: (LiveCell(path), ("train",), windows) for name, path in sources.items()}
        others = tuple(s for s in ("train", "val") if s != split and root.has_split(s))
        if others:
            chosen[f"{CEILING} ({'+'.join(others)})"] = root, others, None
        test = _windows(out, root, (split,))
        sets = {
            name: (_windows(out, *source), _windows(out, *source[:2], _VALIDATED))
            for name, source in chosen.items()
        }
        seen = {
            name: {image["source"] for image in _images(folder)}
            for name, (folder, _) in sets.items()
            if chosen[name][0].root.resolve() == root.root.resolve()
        }
        work = [
            delayed(_score)(name, seed, iterations, *sets[name], test, seen.get(name, ()))
            for seed in range(trainings)
            for name in sets
        ]
        scores = _run(work, jobs)
    names = list(sets)
    scores.sort(key=lambda score: (names.index(score["training"]), score["seed"]))
    result = {"root": root.root.name, "split": split, "iterations": iterations, "window": WINDOW}
    result |= {"images": {name: len(_images(folder)) for name, (folder, _) in sets.items()}}
    command = f"deepmucs transfer {root.root.name} --split {split} --trainings {trainings}"
    command += f" --iterations {iterations} --windows {windows}"
    command += "".join(f" --phantom {name}={Path(p).name}" for name, p in (phantoms or {}).items())
    found = document(
        "transfer", command, range(trainings), time.monotonic() - begun, result | {"scores": scores}
    )
    write_json(out / f"transfer-{split}.json", found)
    return found


def study(root, folder):
    """The study ``transfer`` of the registry: the test split, with the defaults."""
    return transfer(root, out=folder, jobs=2)["result"]


def _windows(out, root, splits, number=None):
    """Windows of a root with all cells in one class, written unless they are there."""
    cache, files = params.cache(), [root.annotation_file(split) for split in splits]
    for split in splits:
        files += map(root.image_path, read_images(root, split, cache)["file_name"])
    size = [str(number)] if number else []
    folder = out / "sets" / "-".join([root.root.name, *splits, *size, runs.state(files)])
    if not folder.is_dir():
        write_monocultures(root.root, folder, splits, Windows(WINDOW, number), cache=cache)
    truth = read_ground_truth(folder)
    if len(truth["categories"]) > 1:
        write_json(folder / "annotations.json", one_class(truth, [])[0], indent=None)
    return folder


def _run(work, jobs):
    """Do the trainings, and say what each one reached."""
    scores = []
    with warnings.catch_warnings(), parallel_config("loky", inner_max_num_threads=1):
        warnings.filterwarnings("ignore", "A worker stopped")  # it is replaced: torch keeps memory
        done = Parallel(jobs, return_as="generator_unordered")(work)
        for own in tqdm(done, "trainings", len(work), disable=None):
            scores += own
            one = own[0]
            tqdm.write(
                f"{one['training']}, seed {one['seed']}: AP50 {one['bbox']:.1f} of boxes, "
                f"{one['segm']:.1f} of masks, {one['seconds']:.0f} s",
                file=sys.stderr,
            )
    return scores


def _score(name, seed, iterations, images, validation, test, seen):
    """Train, predict and score, each unless that was done: one record per culture."""
    import torch

    from deepmucs_utils.segmentation.predict import predict
    from deepmucs_utils.segmentation.samples import CoCultureSet
    from deepmucs_utils.segmentation.training import train, training_config

    torch.set_num_threads(1)
    run = images.parents[1] / "runs" / f"{images.name}-{iterations}-seed{seed}"
    record = run / "training.json"
    if not record.is_file():
        begun, source = time.monotonic(), CoCultureSet(images)
        cfg = training_config("small", source.categories, iterations, seed)
        cfg.TEST.EVAL_PERIOD = iterations  # so that the last weights are the best ones
        train(cfg, source, CoCultureSet(validation), run, resume=True)
        write_json(record, {"seconds": time.monotonic() - begun})
    target = run / test.name
    if not (target / "predictions.json").is_file():
        predict(run, test, target)
    rows = score(test, target / "predictions.json", seen)
    facts = {"training": name, "seed": seed, "seconds": read_json(record)["seconds"]}
    return [facts | row for row in rows]


def _images(folder):
    return read_ground_truth(folder)["images"]


def score(test, predictions, seen=()) -> list[dict]:
    """AP50 over all windows of a set, then over those of each culture.

    Parameters
    ----------
    test : path-like
        Folder of `write_monocultures`, with one class.
    predictions : path-like
        COCO results of that class.
    seen : set of str
        Images that the network was trained on.

    Returns
    -------
    list of dict
        ``culture``, ``cells``, ``bbox`` and ``segm`` (AP50, %), ``in_sample`` (whether one of
        the culture's images was seen).
    """
    truth = read_ground_truth(test)
    found = read_predictions(predictions, truth)
    images = {image["id"]: image for image in truth["images"]}
    groups = {"all": list(images)}
    for number, image in images.items():
        groups.setdefault(image["block"].split()[0], []).append(number)
    rows = []
    for culture in ["all", *(name for name in LABELS if name in groups)]:
        own = {number: images[number] for number in groups[culture]}
        cells = [cell for cell in truth["annotations"] if cell["image_id"] in own]
        part = truth | {"images": list(own.values()), "annotations": cells}
        metrics = evaluate(Matched(part, [one for one in found if one["image_id"] in own]))
        aps = {task: metrics[task]["AP50"] for task in ("bbox", "segm")}
        inside = any(image["source"] in seen for image in own.values())
        rows.append({"culture": culture, "cells": metrics["n_cells"]} | aps | {"in_sample": inside})
    return rows


def table(scores) -> pd.DataFrame:
    """The means over the trainings.

    Parameters
    ----------
    scores : list of dict
        From `transfer`.

    Returns
    -------
    DataFrame
        One row per training and culture: ``cells``, ``boxes`` and ``masks`` (mean AP50, %), each
        with its ``least`` and ``most`` over the seeds, ``of ceiling`` (ratio of the masks' means)
        and ``in_sample``.
    """
    by = pd.DataFrame(scores).groupby(["training", "culture"], sort=False)
    rows = by.agg(
        cells=("cells", "first"),
        boxes=("bbox", "mean"), boxes_least=("bbox", "min"), boxes_most=("bbox", "max"),
        masks=("segm", "mean"), masks_least=("segm", "min"), masks_most=("segm", "max"),
        in_sample=("in_sample", "any"),
    )  # fmt: skip
    for name in rows.index.unique("training"):
        if name.startswith(CEILING):
            cultures = rows.index.get_level_values("culture")
            rows["of ceiling"] = rows["masks"] / rows.loc[name, "masks"].loc[cultures].to_numpy()
    return rows


def as_text(found) -> str:
    """A result of `transfer` as a table: one line per culture, the trainings side by side."""
    result = found["result"]
    rows = table(result["scores"]).reset_index()
    stars = rows["in_sample"].map({True: "*", False: ""})
    columns = {}
    for task in ("boxes", "masks"):
        values = zip(rows[task], rows[f"{task}_least"], rows[f"{task}_most"], stars, strict=True)
        form = "{:.1f} ({:.1f}–{:.1f}){}" if len(found["seeds"]) > 1 else "{0:.1f}{3}"
        rows[task] = [form.format(*of) for of in values]
    for name, own in rows.groupby("training", sort=False):
        own = own.set_index("culture")
        columns.setdefault(("", "cells"), own["cells"])
        columns |= {(name, task): own[task] for task in ("boxes", "masks")}
        if "of ceiling" in own and not name.startswith(CEILING):
            columns[name, "of ceiling"] = own["of ceiling"].round(2)
    seeds = len(found["seeds"])
    notes = [
        f"AP50 (%) on {result['root']}, {result['split']} split: mean (least to most) of {seeds} "
        f"trainings of {result['iterations']} iterations; of ceiling: ratio of the masks' means."
    ]
    if rows["in_sample"].any():
        notes.append("* in-sample: images of this culture were trained on.")
    text = pd.DataFrame(columns).rename_axis(None).rename(index=LABELS).to_string()
    return "\n".join([text, *notes])
