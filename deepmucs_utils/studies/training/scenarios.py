"""Sets of another kind than a run's own: pairs of cultures, monocultures, naive composites.

Pairs have a known interaction and mix (notebook 51). A root's monoculture images are scenes that
nobody composed, and naive composites are what our pasting is compared with (notebook 44).
Everything lies in the runs' folder and is made once.
"""

import os
from pathlib import Path

from deepmucs_utils.evaluation.records import read_ground_truth
from deepmucs_utils.studies.training.monocultures import write_monocultures
from deepmucs_utils.workflow import params, runs

SPARE_SEED = 1  # of the phantom that gives no donors; the phantom itself has 0


def compose_pair(p, cultures, strength=0.0, split="test", n_images=None, seed=None, mix=None):
    """Compose images with many single cells of a few cultures, of known interaction and mix.

    Parameters
    ----------
    p : Parameters
        Says root, folder and seed.
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
    from deepmucs_utils.generation.compose import Style
    from deepmucs_utils.generation.recipes import get_recipe
    from deepmucs_utils.generation.sets import compose_set

    seed = p.seed if seed is None else seed
    name = f"Pairs_{split}-{'+'.join(cultures)}-{strength:g}-seed{seed}"
    name += f"-{n_images}images" if n_images else ""
    name += f"-{'to'.join(map(str, mix))}" if mix else ""
    pull = ((cultures[0], cultures[1], float(strength)),) if strength else ()
    style = Style(placement="interacting" if pull else "uniform", interactions=pull)
    parts = dict(zip(cultures, mix, strict=True)) if mix else None
    return compose_set(
        runs.data_root(p),
        runs.out_dir(p) / "sets" / name,
        get_recipe(f"Pairs_{split}", cultures=tuple(cultures), n_images=n_images, mix=parts),
        seed,
        style,
        jobs=os.cpu_count(),
        cache=params.cache(),
    )


def predict_set(p, folder, model=None):
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
    target = model / "other_sets" / Path(folder).name
    if not (target / "predictions.json").is_file():
        predict(model, folder, target)
    return target / "predictions.json"


def real_scenes(p):
    """Monoculture images that gave no cell to the run's test set: as many windows as it has images.

    They are the root's own test images. The phantom has so few that all of them give cells, so
    there a second phantom is drawn.

    Parameters
    ----------
    p : Parameters

    Returns
    -------
    Path
        Folder of the set; its windows have the size of the run's images.
    """
    if p.data_root is not None:
        return _windows(p, "test", p.data_root, runs.compose(p, "test"))
    root = runs.data_root(p)
    return _windows(p, "test", runs.phantom(root.with_name(f"{root.name}-spare"), SPARE_SEED))


def monocultures(p, split="train"):
    """Windows of the root's monoculture images: as many as the run's set has images.

    Parameters
    ----------
    p : Parameters
    split : {"train", "val"}

    Returns
    -------
    Path
        Folder of the set; its windows have the size of the run's images.
    """
    return _windows(p, split, runs.data_root(p))


def _windows(p, split, root, without=None):
    own = runs.compose(p, split)
    folder = runs.out_dir(p) / "sets" / f"monocultures_{split}-for-{own.name}"
    with runs.alone(folder):
        if not folder.is_dir():
            images = read_ground_truth(own / "annotations.json")["images"]
            write_monocultures(
                root,
                folder,
                split,
                without=without,
                window=(images[0]["height"], images[0]["width"]),
                n_images=len(images),
                cultures=p.cultures,
                seed=p.seed,
                cache=params.cache(),
            )
    return folder


def naive_composites(p, split="train"):
    """The run's own set, pasted naively: hard edges, places at random.

    Parameters
    ----------
    p : Parameters
    split : {"train", "val"}

    Returns
    -------
    Path
        Folder of the set.
    """
    from deepmucs_utils.generation.compose import Style
    from deepmucs_utils.generation.recipes import get_recipe
    from deepmucs_utils.generation.sets import compose_set

    q = runs.for_split(p, split)
    return compose_set(
        runs.data_root(q),
        runs.out_dir(q) / "sets" / f"naive_{runs.label(q)}",
        get_recipe(q.set_name, q.fraction, q.cultures, q.n_images),
        q.seed,
        Style(placement="uniform", blend="hard"),
        jobs=os.cpu_count(),
        cache=params.cache(),
    )
