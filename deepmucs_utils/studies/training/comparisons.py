"""What else a run's model could have been trained on: the same network, seed, batch and iterations.

The fixed set is compared with endless co-cultures (notebook 41), and with the monoculture images
themselves and with naive composites (notebook 44). So that a comparison costs less than a run, all
kinds are trained anew, for a share of the run's iterations.
"""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.records import read_ground_truth
from deepmucs_utils.files import write_text
from deepmucs_utils.studies.training import scenarios
from deepmucs_utils.workflow import params, runs

SHARE = 4  # a comparison's training is a quarter of the run's


#: Sets to train and to validate on, by kind of scene; each is validated on scenes of its own kind.
KINDS = {
    "co-cultures": runs.compose,
    "endless co-cultures": runs.compose,
    "monocultures": scenarios.monocultures,
    "naive composites": scenarios.naive_composites,
}


def iterations(p):
    """Training iterations of each kind.

    Parameters
    ----------
    p : Parameters

    Returns
    -------
    int
    """
    from deepmucs_utils.segmentation.config import get_config

    return max(1, (p.iterations or get_config(p.model).SOLVER.MAX_ITER) // SHARE)


def train_kinds(p, kinds):
    """Train the run's model on several kinds of scenes; what is trained already is kept.

    Each training is a process of its own with one thread, on CPUs two at a time, so that weights
    do not depend on how many go on side by side.

    Parameters
    ----------
    p : Parameters
    kinds : sequence of str
        Of `KINDS`.

    Returns
    -------
    dict of str to Path
        Folder of each trained model; its ``training.json`` has the ``seconds`` that it took.

    Raises
    ------
    DeepMuCSError
        If a training fails, with the sentence that it ended with.
    """
    import torch

    home = runs.run_folder(p) / f"{iterations(p)}-iterations"
    folders = {kind: home / kind.replace(" ", "-") for kind in kinds}
    with runs.alone(home):
        missing = [kind for kind in kinds if not (folders[kind] / "training.json").is_file()]
        commands = [_command(p, kind, folders[kind]) for kind in missing]
        with ThreadPoolExecutor(1 if torch.cuda.is_available() else 2) as pool:
            for _ in pool.map(_train, commands, [folders[kind] for kind in missing]):
                pass
    return folders


def _command(p, kind, folder):
    train_set, val_set = (KINDS[kind](p, split) for split in ("train", "val"))
    options = {
        "--val": val_set,
        "--out": folder,
        "--model": p.model,
        "--iterations": iterations(p),
        "--seed": p.seed,
        "--cache": params.cache(),
    }
    if kind == "endless co-cultures":
        options["--endless"] = runs.data_root(p)
    words = [str(word) for option in options.items() for word in option]
    command = [sys.executable, "-m", "deepmucs_utils.cli", "train", str(train_set), "--resume"]
    return command + words


def _train(command, folder):
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with open(folder / "training.log", "w") as log:
        done = subprocess.run(
            command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=log
        )
    if done.returncode:
        lines = (folder / "training.log").read_text().strip().splitlines()
        reason = lines[-1].removeprefix("deepmucs: error: ") if lines else "without a word."
        raise DeepMuCSError(f"the training in {folder} failed: {reason}")
    seconds = json.dumps({"seconds": time.monotonic() - begun})
    write_text(folder / "training.json", f"{seconds}\n")


def describe(p, kinds):
    """What each kind is trained on.

    Parameters
    ----------
    p, kinds
        See `train_kinds`.

    Returns
    -------
    pandas.DataFrame
        One row a kind: ``images``, ``cells`` (of an endless set, in each epoch), ``cells an
        image``, and ``epochs``, how often each image is seen on average.
    """
    from deepmucs_utils.segmentation.config import get_config

    seen = iterations(p) * get_config(p.model).SOLVER.IMS_PER_BATCH
    rows = {}
    for kind in kinds:
        truth = read_ground_truth(KINDS[kind](p, "train") / "annotations.json")
        images, cells = (len(truth[key]) for key in ("images", "annotations"))
        rows[kind] = {
            "images": images,
            "cells": cells,
            "cells an image": cells / images,
            "epochs": seen / images,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("trained on")
