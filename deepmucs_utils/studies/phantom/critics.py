"""How well critics distinguish crops of the phantom from real ones, culture by culture.

Reported, not tuned to: a critic sees the noise and the density of a field as well as its cells, so
an AUC well above the null is expected. Crops are centred on cells, as many real as synthetic ones,
and each lies within one quarter of its image. Critics are tested on wells that they haven't seen;
on quarters of the image where a culture has a single real well. The null has real crops only, those
of half of the wells (quarters, with fewer than `NULL_LEAST` wells) taken for synthetic at random.
"""

from collections import defaultdict

import numpy as np
import pandas as pd
from joblib import Memory
from tqdm import tqdm

from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.data.livecell import CACHE
from deepmucs_utils.studies.phantom.difficulty import read_crops
from deepmucs_utils.studies.realism.critics import CRITICS, LEAST, distinguish
from deepmucs_utils.workflow import params, runs

SIDE = 64  # px of a crop
NULL_LEAST = 4  # wells that a null by well needs
DRAWS = 5  # random halves of the null


def measure_critics(
    root, phantom, splits=("train", "val"), most=250, seed=0, cache=CACHE, judge=distinguish
) -> list[dict]:
    """Let each critic distinguish the phantom from real images.

    Parameters
    ----------
    root, phantom : path-like
    splits : sequence of str
        Of both roots.
    most : int
        Cells of each culture and split.
    seed : int
    cache : path-like
    judge : callable
        `realism.critics.distinguish`, or the same with a memory.

    Returns
    -------
    list of dict
        For each culture and critic, what `distinguish` gives (``images`` counts wells, or
        quarters where there is one well), ``real_wells``; ``null, null_least, null_most``, mean and
        extremes of the AUC over `DRAWS` halves of the real crops, and ``null_by_well``, whether
        these are of whole wells. Cultures without four quarters with enough real crops are left
        out.
    """
    rng, found = np.random.default_rng(seed), []
    real, ours = (_read(one, splits, most, rng, cache) for one in (root, phantom))
    for culture in tqdm(CULTURE_NAMES, "critics", disable=None):
        wells, quarters = real["well", culture], real["quarter", culture]
        heaps = ours["well", culture]
        if min(len(quarters), 2 * len(heaps)) < 4:
            continue
        units = (wells if len(wells) > 1 else quarters)[: len(heaps)]
        heaps = [np.concatenate(heaps[i :: len(units)]) for i in range(len(units))]
        pairs = [
            (u[: len(h)], rng.permutation(h)[: len(u)]) for u, h in zip(units, heaps, strict=True)
        ]
        parts = wells if len(wells) >= NULL_LEAST else quarters
        k = len(parts) // 2
        drawn = [[parts[i] for i in rng.permutation(len(parts))] for _ in range(DRAWS)]
        for name, critic in CRITICS.items():
            null = [judge(one[:k], one[k : 2 * k], critic, 1, seed)["auc"] for one in drawn]
            row = {"culture": culture, "critic": name, "real_wells": len(wells)}
            row |= judge(*zip(*pairs, strict=True), critic, 1, seed) | {"null": np.mean(null)}
            row |= {"null_least": min(null), "null_most": max(null)}
            found.append(row | {"null_by_well": parts is wells})
    return found


def _read(root, splits, most, rng, cache):
    """Crops of each culture, by well and by quarter; those with fewer than `LEAST` left out."""
    parts = [read_crops(root, one, most, rng, cache, SIDE, alone=False) for one in splits]
    crops = np.concatenate([one for one, _ in parts])
    cells = pd.concat([one for _, one in parts], ignore_index=True)
    middle = cells[["y", "x"]].to_numpy() + cells[["h", "w"]].to_numpy() / 2
    first, half = middle.astype(int) - SIDE // 2, cells[["height", "width"]].to_numpy() // 2
    quarter = first // half
    inside = ((quarter >= 0) & (quarter < 2) & ((first + SIDE - 1) // half == quarter)).all(1)
    cells, found = cells.assign(quarter=quarter @ (2, 1))[inside], defaultdict(list)
    for by in (["culture", "well"], ["culture", "well", "quarter"]):
        for (culture, *_), group in cells.groupby(by):
            if len(group) >= LEAST:
                chosen = crops[rng.permutation(group.index), None].astype(np.float32)
                found[by[-1], culture].append(chosen)
    return found


def study(root, folder):
    """What critics say of the phantom beside a root of LIVECell; their scores are kept."""
    judge = Memory(folder, verbose=0).cache(distinguish)
    phantom = runs.data_root(params.check())
    return measure_critics(root, phantom, cache=params.cache(), judge=judge)
