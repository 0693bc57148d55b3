"""Which matte? The rings of `realism`, pasted through mattes of other plateau and fall-off."""

import zlib

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from deepmucs_utils.data.livecell import CACHE, LiveCell
from deepmucs_utils.data.masks import paint
from deepmucs_utils.generation.cells import PLATEAU, REACH
from deepmucs_utils.studies.realism.critics import CRITICS, judge
from deepmucs_utils.studies.realism.patches import PER_RING, ring_patches
from deepmucs_utils.studies.realism.study import MOST_IMAGES, choose_images, edge_statistics

# px of full weight outside the mask, and px where the matte ends
MATTES = (
    (0.0, 0.0),
    (0.0, 2.0),
    (0.0, 4.0),
    (0.0, 8.0),
    (1.0, 3.0),
    (2.0, 4.0),
    (PLATEAU, 3.0),
    (PLATEAU, REACH),
    (PLATEAU, 8.0),
    (5.0, 7.0),
)


def compare_mattes(
    root, mattes=MATTES, images=MOST_IMAGES, critic="features", seed=0, jobs=2, cache=CACHE
):
    """Judge mattes by how well the rings of pasted cells can be told from real ones.

    Parameters
    ----------
    root : path-like
        LIVECell or its phantom; all its splits.
    mattes : sequence of tuple of float
        Px of full weight outside the mask, and px where the matte ends.
    images : int
        Real images looked at, at most.
    critic : str
        One of `critics.CRITICS`.
    seed, jobs, cache
        As elsewhere.

    Returns
    -------
    DataFrame
        A row a matte: ``plateau, reach`` (px); ``auc, low, high, images, judged`` (see
        `critics.judge`); ``halo``, the mean over 1 to 4 px outside the mask of how far the mean
        profile is from the real one (grey levels); ``sd``, the standard deviation at 1 to 8 px
        over the real one.
    """
    livecell = LiveCell(root)
    chosen = choose_images(livecell, images, seed, cache)
    tasks = (
        delayed(_rings)(livecell.image(name), cells["polygon"].tolist(), name, matte)
        for matte in mattes
        for name, cells in chosen
    )
    found = Parallel(n_jobs=jobs, return_as="generator")(tasks)
    found = iter(tqdm(found, "rings", len(mattes) * len(chosen), unit="image", disable=None))
    rows = []
    for plateau, reach in mattes:
        own = [(name, next(found)) for name, _ in chosen]
        patches, profile = ({}, {}), []
        for place, way in enumerate(("real", "ours")):
            rings = {name: ways[way][0] for name, ways in own if ways}
            patches[place].update({name: ways[way][1] for name, ways in own if ways})
            profile.append(edge_statistics(rings))
        real, ours = (np.array([one["mean"], one["sd"]]) for one in profile)
        result = judge(*patches, CRITICS[critic], PER_RING, seed)
        rows.append(
            {"plateau": plateau, "reach": reach}
            | {name: result[name] for name in ("auc", "low", "high", "images", "judged")}
            | {
                "halo": float(np.abs(ours[0] - real[0])[:4].mean()),
                "sd": float(np.mean(ours[1] / real[1])),
            }
        )
    return pd.DataFrame(rows)


def _rings(image, polygons, name, matte):
    """Rings of an image and patches on them, ``{way: (rings, patches)}``."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    ways = ring_patches(image, paint(polygons, *image.shape), rng, plateau_reach=matte)
    return {
        way: (rings, np.concatenate([ring.patches(rng) for ring in rings]))
        for way, rings in ways.items()
        if rings and way in ("real", "ours")
    }
