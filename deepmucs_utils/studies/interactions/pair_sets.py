"""Sets of a few cultures with many single cells, of known interaction and mix (notebook 51)."""

import os
from pathlib import Path

from deepmucs_utils.generation.compose import Style
from deepmucs_utils.generation.recipes import get_recipe
from deepmucs_utils.generation.sets import compose_set
from deepmucs_utils.workflow import params, runs


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
    return compose_set(
        runs.data_root(p),
        runs.out_dir(p) / "sets" / name,
        get_recipe(f"Pairs_{split}", cultures=tuple(cultures), n_images=n_images, mix=parts),
        seed,
        Style(placement="interacting" if pull else "uniform", interactions=pull),
        os.cpu_count(),
        params.cache(),
    )
