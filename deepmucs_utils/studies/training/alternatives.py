"""What else a run's model could have been trained on: the same network, seed, batch and iterations.

The run's own co-cultures are compared with endless co-cultures (notebook 41), with the monoculture
images themselves and with naive composites (notebook 44). So that a comparison costs less than a
run, all alternatives are trained anew, for a share of the run's iterations. Sets and models lie in
the runs' folder and are made once.
"""

import os
import time
from pathlib import Path

import pandas as pd
from joblib import Parallel, delayed, parallel_config

from deepmucs_utils.evaluation.records import read_ground_truth
from deepmucs_utils.files import write_json
from deepmucs_utils.generation.compose import Style
from deepmucs_utils.generation.recipes import get_recipe
from deepmucs_utils.generation.sets import compose_set
from deepmucs_utils.studies.training.monocultures import Windows, write_monocultures
from deepmucs_utils.workflow import params, runs

SHARE = 4  # an alternative is trained for a quarter of the run's iterations
SPARE_SEED = 1  # of the phantom that gives no donors; the phantom itself has 0
SPARE_IMAGES = 4  # of each culture and split: 128 windows of a demo set's size, for 78 scenes


def real_scenes(p: params.Parameters) -> Path:
    """Monoculture images that gave no cell to the run's test set: as many windows as it has images.

    They are the root's own test images. The phantom has so few that most of them give cells, so
    there a second phantom is drawn. The windows have the size of the run's images.
    """
    if p.data_root is not None:
        return _windows(p, "test", p.data_root, runs.compose(p, "test"))
    root = runs.data_root(p)
    spare = runs.phantom(root.with_name(f"{root.name}-spare"), SPARE_SEED, SPARE_IMAGES)
    return _windows(p, "test", spare)


def monocultures(p: params.Parameters, split: str = "train") -> Path:
    """Windows of the root's monoculture images, as many and as large as the run's own images."""
    return _windows(p, split, runs.data_root(p))


def _windows(p, split, root, without=None):
    own = runs.compose(p, split)
    folder = runs.out_dir(p) / "sets" / f"monocultures_{split}-for-{own.name}"
    with runs.alone(folder):
        if not folder.is_dir():
            images = read_ground_truth(own)["images"]
            size = images[0]["height"], images[0]["width"]
            windows = Windows(size, len(images), p.seed)
            write_monocultures(root, folder, split, windows, p.cultures, without, params.cache())
    return folder


def naive_composites(p: params.Parameters, split: str = "train") -> Path:
    """The run's own set, pasted naively: hard edges, random places."""
    q = runs.for_split(p, split)
    style = Style(placement="uniform", blend="hard")
    return _compose(q, f"naive_{runs.label(q)}", q.recipe(), q.seed, style)


def compose_pair(
    p: params.Parameters, cultures, strength=0.0, split="test", n_images=None, seed=None, mix=None
) -> Path:
    """Compose images with many single cells of a few cultures, of known interaction and mix.

    Parameters
    ----------
    p : Parameters
        Says root, folder and seed. The set lies in the runs' folder and is composed once.
    cultures : sequence of str
        Two or three; the first two interact.
    strength : float
        See `generation.placement.Places`; 0 places all cells independently.
    split : {"test", "val"}
    n_images : int, optional
        Default 20.
    seed : int, optional
        Default that of ``p``.
    mix : sequence of int, optional
        Parts of the cells that each culture has, such as ``(99, 1)``; default equal parts.

    Returns
    -------
    Path
        Folder of the set.
    """
    seed = p.seed if seed is None else seed
    name = f"Pairs_{split}-{'+'.join(cultures)}-{strength:g}-seed{seed}"
    name += f"-{n_images}images" if n_images else ""
    name += f"-{'to'.join(map(str, mix))}" if mix else ""
    pull = ((cultures[0], cultures[1], float(strength)),) if strength else ()
    parts = dict(zip(cultures, mix, strict=True)) if mix else None
    recipe = get_recipe(f"Pairs_{split}", cultures=tuple(cultures), n_images=n_images, mix=parts)
    style = Style(placement="interacting" if pull else "uniform", interactions=pull)
    return _compose(p, name, recipe, seed, style)


def _compose(p, name, recipe, seed, style):
    """Compose a set of another kind into the folder of a run's sets."""
    root, folder, jobs = runs.data_root(p), runs.out_dir(p) / "sets" / name, os.cpu_count()
    return compose_set(root, folder, recipe, seed, style, jobs, params.cache())


#: Sets to train and to validate on, by alternative; each is validated on scenes of its own kind.
ALTERNATIVES = {
    "co-cultures": runs.compose,
    "endless co-cultures": runs.compose,
    "monocultures": monocultures,
    "naive composites": naive_composites,
}


def iterations(p: params.Parameters) -> int:
    """Training iterations of each alternative."""
    from deepmucs_utils.segmentation.config import get_config

    return max(1, (p.iterations or get_config(p.model).SOLVER.MAX_ITER) // SHARE)


def train_alternatives(p: params.Parameters, names) -> dict[str, Path]:
    """Train the run's model on several alternatives; finished trainings are kept.

    Each training is a process of its own with one thread, on CPUs two at a time, so that weights
    do not depend on how many run side by side.

    Parameters
    ----------
    p : Parameters
    names : sequence of str
        Of `ALTERNATIVES`.

    Returns
    -------
    dict of str to Path
        Folder of each trained model; its ``training.json`` has the ``seconds`` that it took.
    """
    import torch

    home = runs.run_folder(p) / f"{iterations(p)}-iterations"
    folders = {name: home / name.replace(" ", "-") for name in names}
    with runs.alone(home):
        work = [
            delayed(_train)(p, name, *(ALTERNATIVES[name](p, s) for s in ("train", "val")), folder)
            for name, folder in folders.items()
            if not (folder / "training.json").is_file()
        ]
        with parallel_config("loky", inner_max_num_threads=1):
            Parallel(1 if torch.cuda.is_available() else 2)(work)
    return folders


def _train(p, name, train_set, val_set, folder):
    from deepmucs_utils.generation.endless import EndlessSet
    from deepmucs_utils.segmentation.samples import CoCultureSet
    from deepmucs_utils.segmentation.training import train, training_config

    source, validation = CoCultureSet(train_set), CoCultureSet(val_set)
    cfg = training_config(p.model, source.categories, iterations(p), p.seed)
    if name == "endless co-cultures":
        source = EndlessSet(train_set, runs.data_root(p), params.cache())
    begun = time.monotonic()
    train(cfg, source, validation, folder, resume=True)
    write_json(folder / "training.json", {"seconds": time.monotonic() - begun})


def training_sets(p: params.Parameters, names) -> pd.DataFrame:
    """What each alternative is trained on.

    Returns
    -------
    DataFrame
        One row per alternative: ``images``, ``cells`` (of an endless set, in each epoch), ``cells
        an image``, and ``epochs``, how often each image is seen on average.
    """
    from deepmucs_utils.segmentation.config import get_config

    seen = iterations(p) * get_config(p.model).SOLVER.IMS_PER_BATCH
    truths = [read_ground_truth(ALTERNATIVES[name](p, "train")) for name in names]
    table = pd.DataFrame(
        [(len(truth["images"]), len(truth["annotations"])) for truth in truths],
        pd.Index(names, name="trained on"),
        ["images", "cells"],
    )
    table["cells per image"] = table["cells"] / table["images"]
    table["epochs"] = seen / table["images"]
    return table


def predict_set(p: params.Parameters, folder: Path, model: Path | None = None) -> Path:
    """Predict a set with the model of a run, unless that was done.

    Parameters
    ----------
    p : Parameters
    folder : Path
        The set.
    model : Path, optional
        Folder of another trained model; default the run of ``p``.

    Returns
    -------
    Path
        ``predictions.json``, in the model's folder under the set's name.
    """
    from deepmucs_utils.segmentation.predict import predict

    model = runs.train(p) if model is None else model
    target = model / "other_sets" / folder.name
    if not (target / "predictions.json").is_file():
        predict(model, folder, target)
    return target / "predictions.json"
