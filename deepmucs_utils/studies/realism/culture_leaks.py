"""Leak tests: can a pasted culture be guessed from what is not the cell?

If pixels beyond a cell's matte, or an image with all mattes blanked, told which culture was pasted
there, a network could learn that instead of the cells. Both are guessed here from noise statistics
and held against a permutation null, with whole backgrounds held out.

One confound stays, and no composition can remove it: in LIVECell every culture comes from its own
plate, wells and focus, so what is inside a matte carries these along with the biology.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.data.masks import decode
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.cells import REACH, distance_to
from deepmucs_utils.studies.realism.critics import patch_features

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
    coco = json.loads((folder / "annotations.json").read_text())
    provenance = pd.read_parquet(folder / "provenance.parquet")
    if provenance["background"].nunique() < 2 or provenance["culture"].nunique() < 2:
        raise DeepMuCSError(
            f"{folder}: expected at least two backgrounds and two cultures to guess from; compose "
            "a larger set."
        )
    names = {category["id"]: category["name"] for category in coco["categories"]}
    background = provenance.groupby("image_id")["background"].first()
    rings, images = [], []
    for entry in coco["images"]:
        cells = [cell for cell in coco["annotations"] if cell["image_id"] == entry["id"]]
        pixels = cv2.imread(str(folder / "images" / entry["file_name"]), cv2.IMREAD_GRAYSCALE)
        masks = [decode(cell["segmentation"], pixels.shape) for cell in cells]
        outside = distance_to(np.any(masks, axis=0)) > REACH
        own = background[entry["id"]]
        cultures = [names[cell["category_id"]] for cell in cells]
        rings += [
            (ring, culture, own)
            for ring, culture in zip(_rings(pixels, outside, masks), cultures, strict=True)
            if ring is not None
        ]
        images.append((_blanked(pixels, outside), set(cultures), own))
    rng = np.random.default_rng(seed)
    features = patch_features(np.array([ring for ring, _, _ in rings]))
    labels = np.array([culture for _, culture, _ in rings])
    groups = pd.factorize(np.array([own for *_, own in rings]))[0]
    return {
        "ring": _against_null(features, [labels], groups, rng, permutations),
        "image": _guess_present(images, rng, permutations),
    }


def _rings(pixels, outside, masks):
    """Pixels outside every matte near each cell, as patches with validity; None where too few."""
    half = SIDE // 2
    padded = np.pad(pixels.astype(np.float32) - np.median(pixels), half)
    for mask in masks:
        y, x = np.rint(np.mean(np.nonzero(mask), axis=1)).astype(int)
        window = np.s_[y : y + SIDE, x : x + SIDE]
        near = distance_to(np.pad(mask, half)[window]) <= WITHIN + REACH
        valid = np.pad(outside, half)[window] & near
        if valid.sum() < LEAST:
            yield None
            continue
        planes = [padded[window] * valid, valid, np.zeros_like(padded[window])]
        yield np.array(planes, np.float32)


def _blanked(pixels, outside):
    """Noise statistics of an image without its mattes."""
    deviation = (pixels.astype(np.float32) - np.median(pixels)) * outside
    planes = [deviation, outside, np.zeros_like(deviation)]
    return patch_features(np.array([planes], np.float32))[0]


def _guess_present(images, rng, permutations):
    """For every culture that some images have and some lack: is it there?"""
    features = np.array([found for found, _, _ in images])
    groups = pd.factorize(np.array([own for *_, own in images]))[0]
    there = [np.array([culture in held for _, held, _ in images]) for culture in CULTURE_NAMES]
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
        if len(np.unique(labels[train])) < 2:
            guesses[test] = labels[train][0]
            continue
        known = len(np.unique(labels[train]))
        lda = LinearDiscriminantAnalysis("lsqr", shrinkage="auto", priors=[1 / known] * known)
        model = make_pipeline(StandardScaler(), lda)
        guesses[test] = model.fit(features[train], labels[train]).predict(features[test])
    return balanced_accuracy_score(labels, guesses)
