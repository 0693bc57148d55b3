"""Runs: a set composed, a model trained on it and evaluated, each step done once.

`compose`, `train`, `predict` and `finish` are the steps as the notebooks call them: each returns
what is already there, resumes what was interrupted, and makes what is missing. A run is done when
its ``results.json`` is there. Everything lies in one folder, ``out_dir``::

    sets/Demo40/  sets/Demo_val/  sets/Demo_test/      composed once, shared by the runs
    Demo40/small/                                      a run: model, predictions, results.json

Without ``out_dir`` this is the trial folder in the cache, which may be deleted at any time. Its
name changes with the code that its content depends on, so that no result outlives the code.
"""

import hashlib
import os
import re
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import yaml
from filelock import FileLock

import deepmucs_utils
from deepmucs_utils.data.livecell import SPLITS
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import read_json, write_json
from deepmucs_utils.generation.recipes import SET_NAMES, get_recipe
from deepmucs_utils.workflow import params
from deepmucs_utils.workflow.environment import environment
from deepmucs_utils.workflow.params import Parameters

#: Folders of the package that a run depends on: for its sets, its training and its metrics.
CODE = ("data", "phantom", "generation", "segmentation", "evaluation")


def state(files) -> str:
    """Eight digits that change with the names and the content of files."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:8]


def code_state(*folders):
    """The state of some folders of the package: code, tables and configurations."""
    package = Path(deepmucs_utils.__file__).parent
    files = [file for folder in folders for file in (package / folder).rglob("*.*")]
    return state(file for file in files if file.suffix != ".pyc")


def out_dir(p: Parameters) -> Path:
    """The folder of runs and sets that parameters ``p`` mean; see the module's text."""
    return p.out_dir or params.cache() / f"trial-{code_state(*CODE)}"


def run_folder(p: Parameters) -> Path:
    """The folder of the run with parameters ``p``."""
    return out_dir(p) / label(p) / p.model


def label(p: Parameters) -> str:
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


def for_split(p: Parameters, split: str) -> Parameters:
    """Parameters of the train, val or test set of a run.

    Val and test sets are those of the same family (``Demo_val`` with ``Demo40``, ``DeepMuCS_val``
    with ``DeepMuCS800``), at the same share, so that a small run stays small.
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
    return replace(p, set_name=f"{_family(p.set_name)}_{split}", fraction=share, n_images=None)


def family(p: Parameters) -> list[Parameters]:
    """Parameters of all training sets of the family of ``p.set_name``, the smallest set first."""
    names = [name for name in SET_NAMES if _family(name) == _family(p.set_name)]
    return [replace(p, set_name=name) for name in names if get_recipe(name).split == "train"]


def _family(set_name):
    """E.g. ``Demo`` of ``Demo40`` and ``Demo_val``."""
    return re.split(r"_|\d", set_name)[0]


def data_root(p: Parameters) -> Path:
    """The LIVECell root that parameters ``p`` mean; the phantom is written when first needed."""
    if p.data_root is not None:
        return p.data_root
    return phantom(params.cache() / f"phantom-{code_state('phantom')}")


def phantom(folder: Path, seed: int = 0, images: int | None = None) -> Path:
    """A phantom of all cultures in a folder, by default of the default size; written when first
    needed."""
    from deepmucs_utils.phantom.write import write_phantom

    with alone(folder):
        if not folder.is_dir():
            write_phantom(folder, images, seed=seed, jobs=os.cpu_count())
    return folder


def compose(p: Parameters, split: str | None = None) -> Path:
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
        recipe, jobs = p.recipe(), os.cpu_count()
        return compose_set(root, folder, recipe, p.seed, jobs=jobs, cache=params.cache())


def train(p: Parameters) -> Path:
    """Train the model of a run, unless it is trained; an interrupted training is resumed.

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
            cfg = training.training_config(
                p.model, source.categories, p.iterations, p.seed, p.batch, p.weights
            )
            launch = training.Launch(p.processes)
            training.train(cfg, source, validation, folder, resume=True, launch=launch)
            write_json(folder / "training.json", {"seconds": time.monotonic() - begun})
    return folder


def predict(p: Parameters, split: str = "test") -> Path:
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


def finish(p: Parameters) -> dict:
    """The results of a run; whatever it lacks is done first.

    Returns
    -------
    dict
        The content of ``results.json``, see `write_results`; null as NaN in the metrics.

    Raises
    ------
    DeepMuCSError
        If the folder holds a run with other parameters.
    """
    from deepmucs_utils.evaluation.matching import match_files
    from deepmucs_utils.evaluation.metrics import evaluate, with_nan

    claim(p)
    path = run_folder(p) / "results.json"
    if not path.is_file():
        write_results(p, evaluate(match_files(compose(p, "test"), predict(p))))
    results = read_json(path)
    return results | {"metrics": with_nan(results["metrics"])}


def write_results(p: Parameters, metrics: dict) -> dict:
    """Write ``results.json``: the run is done.

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
    from deepmucs_utils.evaluation.metrics import reportable

    folder = run_folder(p)
    recipes = {split: for_split(p, split).recipe() for split in SPLITS}
    facts = ("name", "images", "cells", "total", "note")
    results = {
        "parameters": p.plain() | {"iterations": iterations(p)},
        "sets": {split: {f: getattr(r, f) for f in facts} for split, r in recipes.items()},
        "metrics": reportable(metrics),
        "environment": environment(),
        "seconds": {"training": read_json(folder / "training.json")["seconds"]},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(folder / "results.json", results)
    return results


def iterations(p: Parameters) -> int:
    """Number of iterations that a run is trained for."""
    config = yaml.safe_load((run_folder(p) / "config.yaml").read_text(encoding="utf-8"))
    return config["SOLVER"]["MAX_ITER"]


def claim(p: Parameters):
    """Reserve the run's folder for parameters ``p``, or refuse if it holds another run."""
    folder = run_folder(p)
    free = ("processes", "out_dir")
    mine = {name: value for name, value in p.plain().items() if name not in free}
    record = folder / "parameters.json"
    if not record.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(record, mine)
    found = read_json(record)
    different = [
        f"{name} is {found.get(name)!r} there and {value!r} here"
        for name, value in mine.items()
        if found.get(name) != value
    ]
    if different:
        raise DeepMuCSError(
            f"{folder}: holds a run with other parameters ({'; '.join(different)}); choose another "
            "out_dir or remove that folder."
        )


@contextmanager
def alone(folder: Path):
    """Let one process at a time work on a folder; the others wait."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        yield
