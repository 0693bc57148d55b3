"""How hard the cultures of a root are to distinguish: a small network on masked single cells.

A network is trained on cells of the wells of one split and tested on those of another. On genuine
LIVECell the best published accuracy for such crops of the eight cultures is 90.35 % (1.69 million
crops): a phantom that gives 100 % is a toy, one that gives 50 % has no cultures. The accuracy rises
with the number of cells and epochs, so figures compare only where both are equal: by default, and
in the study, 600 cells of each culture for training, 300 for testing, and 20 epochs.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.data.livecell import CACHE, LiveCell, read_index
from deepmucs_utils.data.masks import decode, segmentations
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.workflow import params

SIDE = 48  # px of a crop, at the image's scale: size distinguishes cultures too
SCALE = 32.0  # grey levels per unit of the network's input
RATE = 0.002


def read_crops(root, split, most, rng, cache=CACHE, side=SIDE, alone=True):
    """Cut crops around single cells out of a root.

    Parameters
    ----------
    root : path-like
    split : {"train", "val", "test"}
    most : int
        Cells of each culture, drawn at random; fewer where there are not as many.
    rng : numpy.random.Generator
    cache : path-like
    side : int
        Of a crop, px.
    alone : bool
        Everything outside a cell's mask at the background's level.

    Returns
    -------
    crops : ndarray of int16, shape (n, side, side)
        Grey level relative to the image's median; 0 outside the image.
    cells : DataFrame
        The row of the index of each crop's cell.
    """
    livecell = LiveCell(root)
    index = read_index(livecell, split, cache)
    rows = [
        rng.permutation(np.flatnonzero(index["culture"] == culture))[:most]
        for culture in CULTURE_NAMES
    ]
    chosen = index.iloc[np.sort(np.concatenate(rows))].sort_values("file_name", kind="stable")
    crops = []
    for name, cells in chosen.groupby("file_name"):
        image = livecell.image(name).astype(np.int16)
        image -= np.int16(np.median(image))
        for cell, segmentation in zip(cells.itertuples(), segmentations(cells), strict=True):
            shown = np.pad(image * (decode(segmentation, image.shape) if alone else 1), side // 2)
            y, x = int(cell.y + cell.h / 2), int(cell.x + cell.w / 2)
            crops.append(shown[y : y + side, x : x + side])
    return np.array(crops), chosen


def measure_difficulty(
    root, train="train", test="test", most=600, epochs=20, seed=0, cache=CACHE
) -> dict:
    """Train on the cells of one split, test on those of another.

    Parameters
    ----------
    root : path-like
    train, test : str
        Splits; they must come from different wells, as those of LIVECell and of the phantom do.
    most : int
        Cells of each culture for training; half as many for testing.
    epochs, seed : int
    cache : path-like

    Returns
    -------
    dict
        ``balanced_accuracy`` (mean recall, in percent), ``recall`` (by culture, in percent),
        ``confusion`` (rows true, columns predicted, numbers of cells), ``cultures, train_cells,
        test_cells, most, epochs``.

    Raises
    ------
    DeepMuCSError
        If the root has fewer than two cultures in common between the splits.
    """
    rng = np.random.default_rng(seed)
    crops, cells = read_crops(root, train, most, rng, cache)
    others, unknown = read_crops(root, test, most // 2, rng, cache)
    common = {*cells["culture"]} & {*unknown["culture"]}
    cultures = [name for name in CULTURE_NAMES if name in common]
    if len(cultures) < 2:
        raise DeepMuCSError(
            f"{Path(root)}: {len(cultures)} cultures in both the {train} and the {test} split; "
            "expected at least two; take a root with more."
        )
    from deepmucs_utils.studies.classifier import lenet, train_classifier

    parts = []
    for found, shown in ((crops, cells), (others, unknown)):
        codes = pd.Index(cultures).get_indexer(shown["culture"])  # -1: not a common culture
        parts += found[codes >= 0, None] / np.float32(SCALE), codes[codes >= 0]
    known, targets, unseen, wanted = parts
    build = partial(lenet, len(cultures))
    scores = train_classifier(build, known, targets, seed, epochs, RATE, turned=True)
    answers = scores(unseen).argmax(1)
    confusion = confusion_matrix(wanted, answers, labels=range(len(cultures)))
    recall = 100 * np.diag(confusion) / confusion.sum(1)
    return {
        "balanced_accuracy": float(recall.mean()),
        "recall": dict(zip(cultures, recall.tolist(), strict=True)),
        "confusion": confusion.tolist(),
        "cultures": cultures,
        "train_cells": len(targets),
        "test_cells": len(wanted),
        "most": most,
        "epochs": epochs,
    }


def study(root, folder):
    """The difficulty of a root; a single training, which an interruption costs."""
    return measure_difficulty(root, cache=params.cache())
