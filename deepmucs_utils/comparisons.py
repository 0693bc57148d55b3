"""What else a run's model could have been trained on: the same network, seed, batch and iterations.

The fixed set is compared with endless co-cultures (notebook 41), and with the monoculture images
themselves and with naive composites (notebook 44). So that a comparison costs less than a run, all
kinds are trained anew, for a share of the run's iterations.
"""

import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pandas as pd

from deepmucs_utils import params, runs, scenarios
from deepmucs_utils.evaluation.records import read_ground_truth
from deepmucs_utils.files import write_text

SHARE = 3  # a comparison's training is a third of the run's


def _fixed(p, split):
    return runs.compose(p, split)


#: Sets to train and to validate on, by kind of scene; each is validated on scenes of its own kind.
KINDS = {
    "co-cultures": _fixed,
    "endless co-cultures": _fixed,
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

    On CPUs two trainings go on at a time, a thread each: the weights do not depend on that.

    Parameters
    ----------
    p : Parameters
    kinds : sequence of str
        Of `KINDS`.

    Returns
    -------
    dict of str to Path
        Folder of each trained model; its ``training.json`` has the ``seconds`` that it took.
    """
    import torch

    home = runs.run_folder(p) / f"{iterations(p)}-iterations"
    folders = {kind: home / kind.replace(" ", "-") for kind in kinds}
    with runs.alone(home):
        missing = [kind for kind in kinds if not (folders[kind] / "training.json").is_file()]
        sets = {kind: [KINDS[kind](p, split) for split in ("train", "val")] for kind in missing}
        jobs = 1 if torch.cuda.is_available() else min(2, os.cpu_count())
        with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            trainings = [
                pool.submit(
                    _train,
                    *sets[kind],
                    folders[kind],
                    model=p.model,
                    iterations=iterations(p),
                    seed=p.seed,
                    endless=runs.data_root(p) if kind == "endless co-cultures" else None,
                    cache=params.cache(),
                )
                for kind in missing
            ]
            for training in trainings:
                training.result()
    return folders


def _train(train_set, val_set, folder, **options):
    import torch

    from deepmucs_utils.segmentation.training import train

    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    begun = time.monotonic()
    train(train_set, val_set, folder, resume=True, **options)
    seconds = json.dumps({"seconds": time.monotonic() - begun})
    write_text(folder / "training.json", f"{seconds}\n")


def describe(p, kinds):
    """What each kind is trained on.

    Parameters
    ----------
    p : Parameters
    kinds : sequence of str
        Of `KINDS`.

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
