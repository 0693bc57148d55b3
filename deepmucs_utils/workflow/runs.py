"""Runs: a set composed, a model trained on it and evaluated, each step done once.

`compose`, `train`, `predict` and `finish` are the steps as the notebooks call them: each gives back
what is already there, goes on with what was interrupted, and makes what is missing.
`results.json` says that a run is done. Everything lies in one folder, ``out_dir``::

    sets/Demo40/  sets/Demo_val/  sets/Demo_test/      composed once, shared by the runs
    Demo40/small/                                      a run: model, predictions, results.json

Without ``out_dir`` this is the trial folder in the cache, which may be deleted at any time.
"""

import hashlib
import json
import os
import platform
import subprocess
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml
from filelock import FileLock

from deepmucs_utils import phantom as phantom_package
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import write_json
from deepmucs_utils.generation.recipes import SET_NAMES, get_recipe
from deepmucs_utils.workflow import params

PACKAGES = (
    "deepmucs-utils",
    "detectron2",
    "sal-detectron2",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "pycocotools",
    "hotcoco",
)


def out_dir(p):
    """The folder of runs and sets that parameters ``p`` mean; see the module's text."""
    return p.out_dir or params.cache() / f"trial-{_phantom_state()}"


def run_folder(p):
    """The folder of the run with parameters ``p``."""
    return out_dir(p) / label(p) / p.model


def label(p):
    """Name of a set in a path: its name, and what differs from the published recipe.

    Examples
    --------
    >>> label(params.check(set_name="Demo40", fraction=0.1, cultures="A172,BV2"))
    'Demo40-0.1-A172+BV2'
    """
    parts = [p.set_name]
    if p.n_images is not None:
        parts.append(f"{p.n_images}images")
    elif p.fraction != 1:
        parts.append(f"{p.fraction:g}")
    if p.cultures:
        parts.append("+".join(p.cultures))
    if p.seed:
        parts.append(f"seed{p.seed}")
    return "-".join(parts)


def for_split(p, split):
    """Parameters of the val or test set that goes with a training set.

    It is the one of the same family (``Demo_val`` with ``Demo40``, ``DeepMuCS_val`` with
    ``DeepMuCS800``), at the same share, so that a small run stays small.

    Parameters
    ----------
    p : Parameters
    split : {"train", "val", "test"}

    Returns
    -------
    Parameters
    """
    full = get_recipe(p.set_name)
    if full.split != "train":
        raise DeepMuCSError(
            f"set_name {p.set_name!r}: a {full.split} set; expected one to train on, such as "
            "Demo40 or DeepMuCS800."
        )
    if split == "train":
        return p
    share = p.fraction if p.n_images is None else min(1.0, p.n_images / full.images)
    return replace(p, set_name=f"{_family(p)}_{split}", fraction=share, n_images=None)


def family(p):
    """Parameters of all training sets of a family, from the smallest to the largest.

    Parameters
    ----------
    p : Parameters
        ``set_name`` is one of them.

    Returns
    -------
    list of Parameters
    """
    names = [name for name in SET_NAMES if name.startswith(_family(p))]
    return [replace(p, set_name=name) for name in names if get_recipe(name).split == "train"]


def _family(p):
    return next(name for name in ("Demo", "Dense", "DeepMuCS") if p.set_name.startswith(name))


def data_root(p):
    """The LIVECell root that parameters ``p`` mean; the phantom is written when first needed.

    Returns
    -------
    Path
    """
    if p.data_root is not None:
        return p.data_root
    return phantom(params.cache() / f"phantom-{_phantom_state()}")


def phantom(folder, seed=0):
    """A phantom of the default size in a folder; written when first needed.

    Parameters
    ----------
    folder : Path
    seed : int

    Returns
    -------
    Path
        The folder.
    """
    from deepmucs_utils.phantom.write import write_phantom

    with alone(folder):
        if not folder.is_dir():
            write_phantom(folder, seed=seed, jobs=os.cpu_count())
    return folder


@cache
def _phantom_state():
    """Eight digits that change with the code and tables that write the phantom."""
    state = hashlib.sha256()
    for file in sorted(Path(phantom_package.__file__).parent.glob("*.*")):
        state.update(file.read_bytes())
    return state.hexdigest()[:8]


def compose(p, split=None):
    """Compose a co-culture set, unless it is there.

    Parameters
    ----------
    p : Parameters
    split : {"train", "val", "test"}, optional
        The set that a run needs for this; default is the set of ``p.set_name`` itself.

    Returns
    -------
    Path
        The set's folder.
    """
    from deepmucs_utils.generation.sets import compose_set

    p = for_split(p, split) if split else p
    root, folder = data_root(p), out_dir(p) / "sets" / label(p)
    with alone(folder):
        return compose_set(
            root,
            folder,
            get_recipe(p.set_name, p.fraction, p.cultures, p.n_images),
            p.seed,
            jobs=os.cpu_count(),
            cache=params.cache(),
        )


def train(p):
    """Train the model of a run, unless it is trained; an interrupted training goes on.

    Parameters
    ----------
    p : Parameters

    Returns
    -------
    Path
        The run's folder.
    """
    from deepmucs_utils.segmentation import training
    from deepmucs_utils.segmentation.samples import CoCultureSet

    folder = run_folder(p)
    with alone(folder):
        claim(p)
        if not (folder / "training.json").is_file():
            source, validation = (CoCultureSet(compose(p, split)) for split in ("train", "val"))
            begun = time.monotonic()
            cfg = training.training_config(p.model, source.categories, p.iterations, p.seed)
            training.train(cfg, source, validation, folder, resume=True)
            write_json(folder / "training.json", {"seconds": time.monotonic() - begun})
    return folder


def predict(p, split="test"):
    """Predict the cells of a run's test (or val) set, unless that was done.

    Parameters
    ----------
    p : Parameters
    split : {"test", "val"}

    Returns
    -------
    Path
        ``predictions.json``, a COCO results list: in the run's folder, or in ``val`` inside it.
    """
    from deepmucs_utils.segmentation import predict as prediction

    folder = train(p)
    target = folder if split == "test" else folder / split
    with alone(folder):
        if not (target / "predictions.json").is_file():
            prediction.predict(folder, compose(p, split), target)
    return target / "predictions.json"


def finish(p):
    """The results of a run; whatever it lacks is done first.

    Parameters
    ----------
    p : Parameters

    Returns
    -------
    dict
        The content of ``results.json``; see `write_results`.
    """
    from deepmucs_utils.evaluation.matching import match_files
    from deepmucs_utils.evaluation.metrics import evaluate

    results = read_results(p)
    if results is None:
        predictions = predict(p)
        results = write_results(p, evaluate(match_files(compose(p, "test"), predictions)))
    return results


def read_truth(p, split="test"):
    """Ground truth of a run's set, as COCO's json holds it."""
    return json.loads((compose(p, split) / "annotations.json").read_text())


def read_predictions(p):
    """Predictions of a run on its test set, a COCO results list."""
    return json.loads(predict(p).read_text())


def write_results(p, metrics):
    """Write ``metrics.json`` and, last of all, ``results.json``: the run is done.

    Parameters
    ----------
    p : Parameters
    metrics : dict
        From `evaluation.metrics.evaluate`, on the run's test set.

    Returns
    -------
    dict
        What was written: ``parameters``, ``sets`` (images, cells and note of each),
        ``metrics``, ``environment``, ``seconds`` of training, ``finished`` (UTC).
    """
    from deepmucs_utils.evaluation.metrics import read_metrics, write_metrics

    folder = run_folder(p)
    write_metrics(metrics, folder)
    results = {
        "parameters": p.plain() | {"iterations": iterations(p)},
        "sets": {split: _describe(for_split(p, split)) for split in ("train", "val", "test")},
        "metrics": json.loads((folder / "metrics.json").read_text()),
        "environment": environment(),
        "seconds": {"training": json.loads((folder / "training.json").read_text())["seconds"]},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(folder / "results.json", results)
    return results | {"metrics": read_metrics(folder / "metrics.json")}


def iterations(p):
    """Number of iterations that a run has been or is being trained for."""
    config = yaml.safe_load((run_folder(p) / "config.yaml").read_text())
    return config["SOLVER"]["MAX_ITER"]


def read_results(p):
    """The content of a finished run's ``results.json``, or None where the run is not finished.

    Raises
    ------
    DeepMuCSError
        If the folder holds a run with other parameters.
    """
    from deepmucs_utils.evaluation.metrics import read_metrics

    folder = run_folder(p)
    if not (folder / "results.json").is_file():
        return None
    claim(p)
    results = json.loads((folder / "results.json").read_text())
    return results | {"metrics": read_metrics(folder / "metrics.json")}


def claim(p):
    """Mark the run's folder as that of parameters ``p``, or refuse when it is another's."""
    folder = run_folder(p)
    mine = {name: value for name, value in p.plain().items() if name != "out_dir"}
    record = folder / "parameters.json"
    if not record.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(record, mine)
    found = json.loads(record.read_text())
    different = [
        f"{name} is {found.get(name)!r} there and {value!r} here"
        for name, value in mine.items()
        if found.get(name) != value
    ]
    if different:
        raise DeepMuCSError(
            f"{folder}: holds a run with other parameters ({'; '.join(different)}); take another "
            "out_dir or remove that folder."
        )


def environment():
    """What a run was computed with: versions, machine, commit.

    Returns
    -------
    dict
        ``python``, ``packages`` (version by name), ``platform``, ``cpus``, ``gpu`` (name or None)
        and ``commit`` (None outside a checkout; with a plus sign where tracked files are changed).
    """
    import torch

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "packages": versions,
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "commit": _commit(),
    }


def _commit():
    command = ["git", "-C", str(params.repository()), "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _describe(p):
    """Images, cells and note of the set that parameters ``p`` mean."""
    recipe = get_recipe(p.set_name, p.fraction, p.cultures, p.n_images)
    return {
        "name": recipe.name,
        "images": recipe.images,
        "cells": recipe.cells,
        "total": recipe.total,
        "note": recipe.note,
    }


@contextmanager
def alone(folder):
    """Let one process at a time work on a folder; the others wait and then find it done."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        yield
