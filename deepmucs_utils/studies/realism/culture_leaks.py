"""Leak test: can a pasted culture be guessed from what lies outside every matte?

If pixels beyond a cell's matte told its culture, a network could learn that instead of the cell.
The culture is guessed here from noise statistics around the cell, with whole backgrounds held out,
and the guess is compared with a permutation null.

One confound stays, and no composition can remove it: in LIVECell every culture comes from its own
plate, wells and focus, so what is inside a matte carries these along with the biology.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GroupKFold, permutation_test_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.cells import REACH, distance_to
from deepmucs_utils.studies.realism.critics import patch_features
from deepmucs_utils.studies.realism.fields import read_scenes

WITHIN = 16.0  # px from the cell
SIDE = 64  # px, side of the window that is looked at around a cell
FOLDS = 5
LEAST = 150  # pixels that a ring must have


def guess_cultures(folder, seed=0, permutations=50):
    """Guess the culture of each cell from pixels outside every matte, within `WITHIN` px of it.

    Parameters
    ----------
    folder : path-like
        A co-culture set.
    seed : int
    permutations : int
        Of the labels within each background, for the null.

    Returns
    -------
    dict
        ``accuracy`` (balanced over cultures, mean over held-out parts), ``chance`` (mean of the
        null), ``null_high`` (its 95 % quantile), ``p`` and ``n`` (cells).

    Raises
    ------
    DeepMuCSError
        If the set has fewer than two backgrounds or cultures.
    """
    folder = Path(folder)
    cells = pd.read_parquet(folder / "provenance.parquet").sort_values("annotation_id")
    if cells["background"].nunique() < 2 or cells["culture"].nunique() < 2:
        raise DeepMuCSError(
            f"{folder}: expected at least two backgrounds and two cultures to guess from; compose "
            "a larger set."
        )
    rings = np.array([ring for scene in read_scenes(folder) for ring in _rings(*scene)])
    enough = rings[:, 1].sum((1, 2)) >= LEAST
    backgrounds = pd.factorize(cells["background"])[0][enough]
    accuracy, null, p = permutation_test_score(
        make_pipeline(StandardScaler(), RidgeClassifier(class_weight="balanced")),
        patch_features(rings[enough]),
        cells["culture"].to_numpy(str)[enough],
        groups=backgrounds,
        cv=GroupKFold(min(FOLDS, len(np.unique(backgrounds)))),
        n_permutations=permutations,
        random_state=seed,
        scoring="balanced_accuracy",
    )
    levels = {"chance": float(null.mean()), "null_high": float(np.quantile(null, 0.95))}
    return {"accuracy": float(accuracy)} | levels | {"p": float(p), "n": int(enough.sum())}


def _rings(image, scene):
    """Around each cell the deviation outside every matte, its validity, and no distance: as
    `patch_features` takes them."""
    half = SIDE // 2
    deviation = np.pad(image - np.float32(np.median(image)), half)
    outside = np.pad(distance_to(scene.mask) > REACH, half)
    owner = np.pad(scene.owner, half, constant_values=-1)
    for row, ((top, left, *_), mask) in enumerate(scene.masks):
        y, x = np.rint(np.mean(np.nonzero(mask), axis=1) + (top, left)).astype(int)
        window = np.s_[y : y + SIDE, x : x + SIDE]
        valid = outside[window] & (distance_to(owner[window] == row) <= WITHIN + REACH)
        yield np.array([deviation[window] * valid, valid, 0 * valid], np.float32)
