"""Leak tests: can a pasted culture be guessed from what is not the cell?

If pixels beyond a cell's matte, or an image with all mattes blanked, told which culture was pasted
there, a network could learn that instead of the cells. Both are guessed here from noise statistics
and compared with a permutation null, with whole backgrounds held out.

One confound stays, and no composition can remove it: in LIVECell every culture comes from its own
plate, wells and focus, so what is inside a matte carries these along with the biology.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.cells import REACH, distance_to
from deepmucs_utils.studies.realism.critics import patch_features
from deepmucs_utils.studies.realism.field_statistics import read_scenes

WITHIN = 16.0  # px from the cell
SIDE = 64  # px, side of the window that is looked at around a cell
FOLDS = 5
LEAST = 150  # pixels that a ring must have
LEAST_IMAGES = 5  # images with and without a culture, for it to be guessed


def guess_cultures(folder, seed=0, permutations=50):
    """Guess cultures from what lies outside every matte.

    Parameters
    ----------
    folder : path-like
        A co-culture set.
    seed : int
    permutations : int
        Of the labels, for the null.

    Returns
    -------
    dict
        ``ring``: the culture of each cell from pixels within `WITHIN` px of it; ``image``: which
        cultures are present, from the image with all mattes blanked. Each with ``accuracy``
        (balanced), ``chance`` (mean of the null), ``null_high`` (its 95 % quantile), ``p`` and
        ``n``.

    Raises
    ------
    DeepMuCSError
        If the set has fewer than two backgrounds or cultures.
    """
    folder = Path(folder)
    provenance = pd.read_parquet(folder / "provenance.parquet").sort_values("annotation_id")
    if provenance["background"].nunique() < 2 or provenance["culture"].nunique() < 2:
        raise DeepMuCSError(
            f"{folder}: expected at least two backgrounds and two cultures to guess from; compose "
            "a larger set."
        )
    rings, images = [], []
    scenes = zip(provenance.groupby("image_id"), read_scenes(folder), strict=True)
    for (_, cells), (pixels, scene) in scenes:
        outside = distance_to(scene.mask) > REACH
        deviation = pixels.astype(np.float32) - np.median(pixels)
        background = cells["background"].iloc[0]
        found = zip(_rings(deviation, outside, scene), cells["culture"], strict=True)
        rings += [(ring, culture, background) for ring, culture in found if ring is not None]
        images.append((_planes(deviation, outside), set(cells["culture"]), background))
    rng = np.random.default_rng(seed)
    planes, labels, backgrounds = zip(*rings, strict=True)
    groups = pd.factorize(np.array(backgrounds))[0]
    features = patch_features(np.array(planes))
    return {
        "ring": _against_null(features, [np.array(labels)], groups, rng, permutations),
        "image": _guess_present(images, rng, permutations),
    }


def _rings(deviation, outside, scene):
    """Pixels outside every matte near each cell, as patches with validity; None where too few."""
    half = SIDE // 2
    deviation, outside = np.pad(deviation, half), np.pad(outside, half)
    owner = np.pad(scene.owner, half, constant_values=-1)
    for row, ((top, left, *_), mask) in enumerate(scene.masks):
        y, x = np.rint(np.mean(np.nonzero(mask), axis=1) + (top, left)).astype(int)
        window = np.s_[y : y + SIDE, x : x + SIDE]
        valid = outside[window] & (distance_to(owner[window] == row) <= WITHIN + REACH)
        yield _planes(deviation[window], valid) if valid.sum() >= LEAST else None


def _planes(deviation, valid):
    """Deviation, validity and no distance, as `patch_features` takes them; float32."""
    return np.array([deviation * valid, valid, np.zeros_like(deviation)], np.float32)


def _guess_present(images, rng, permutations):
    """Which cultures an image has, of those that some images have and some lack."""
    planes, cultures, backgrounds = zip(*images, strict=True)
    features = np.concatenate([patch_features(one[None]) for one in planes])
    groups = pd.factorize(np.array(backgrounds))[0]
    there = [np.array([culture in held for held in cultures]) for culture in CULTURE_NAMES]
    there = [y for y in there if LEAST_IMAGES <= y.sum() <= len(y) - LEAST_IMAGES]
    if not there:
        return None
    return _against_null(features, there, groups, rng, permutations)


def _against_null(features, targets, groups, rng, permutations):
    """Mean balanced accuracy over the targets, with whole groups held out, and its null."""
    found = np.mean([_accuracy(features, y, groups) for y in targets])
    null = np.array(
        [
            np.mean([_accuracy(features, y[order], groups) for y in targets])
            for order in (rng.permutation(len(features)) for _ in range(permutations))
        ]
    )
    return {
        "accuracy": float(found),
        "chance": float(null.mean()),
        "null_high": float(np.quantile(null, 0.95)),
        "p": float((1 + (null >= found).sum()) / (1 + permutations)),
        "n": len(features),
    }


def _accuracy(features, labels, groups):
    guesses = np.empty(len(labels), labels.dtype)
    folds = GroupKFold(min(FOLDS, len(np.unique(groups))))
    for train, test in folds.split(features, labels, groups):
        known = len(np.unique(labels[train]))
        if known < 2:
            guesses[test] = labels[train][0]
            continue
        lda = LinearDiscriminantAnalysis("lsqr", shrinkage="auto", priors=[1 / known] * known)
        model = make_pipeline(StandardScaler(), lda)
        guesses[test] = model.fit(features[train], labels[train]).predict(features[test])
    return balanced_accuracy_score(labels, guesses)
