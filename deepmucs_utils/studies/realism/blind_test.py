"""A blinded two-alternative test for people: which of two pictures is the composite?

The sheet and the key are written apart, so that who looks need not know. Pictures of genuine
LIVECell belong into a folder outside the repository (CC BY-NC 4.0).
"""

import csv
import json
import os
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import binomtest

from deepmucs_utils.errors import DeepMuCSError

PAIRS = 40
SIDE = 128  # px of a picture's crop
ZOOM = 2
COLUMNS = 4  # pairs in a row
CONTRAST = 2.0


def write_sheet(out, real, composites, seed=0, pairs=PAIRS):
    """Write the contact sheet and its key.

    Parameters
    ----------
    out : path-like
        Folder; ``blind_test.png``, ``answers.csv`` (to fill in) and ``blind_test_key.json`` are
        written there.
    real, composites : sequence of (ndarray of uint8, ndarray of float, shape (n, 2))
        Images and the rows and columns of their cells' centres; crops are centred on cells.
    seed : int
    pairs : int

    Returns
    -------
    Path
        The sheet.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    left_is_made = rng.random(pairs) < 0.5
    tiles = []
    for number, left in enumerate(left_is_made, 1):
        crops = [_crop(*some[rng.integers(len(some))], rng) for some in (composites, real)]
        pair = np.concatenate([*(crops if left else crops[::-1])], axis=1)
        tile = cv2.copyMakeBorder(pair, 22, 4, 4, 4, cv2.BORDER_CONSTANT, value=255)
        cv2.putText(tile, str(number), (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 0, 1, cv2.LINE_AA)
        tiles.append(tile)
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % COLUMNS)
    rows = [np.concatenate(tiles[i : i + COLUMNS], axis=1) for i in range(0, len(tiles), COLUMNS)]
    cv2.imwrite(str(out / "blind_test.png"), np.concatenate(rows))
    key = ["left" if left else "right" for left in left_is_made]
    (out / "blind_test_key.json").write_text(json.dumps(key))
    with open(out / "answers.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["pair", "composite"])
        writer.writerows([number, ""] for number in range(1, pairs + 1))
    return out / "blind_test.png"


def _crop(image, centres, rng):
    """A square around a random cell, at the sheet's contrast and size."""
    y, x = centres[rng.integers(len(centres))]
    height, width = image.shape
    top = int(np.clip(y - SIDE / 2, 0, height - SIDE))
    left = int(np.clip(x - SIDE / 2, 0, width - SIDE))
    crop = image[top : top + SIDE, left : left + SIDE].astype(float)
    crop = (128 + CONTRAST * (crop - np.median(image))).clip(0, 255).astype(np.uint8)
    return cv2.resize(crop, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST)


def score(out, answers=None):
    """Score the answers of a blinded test.

    Parameters
    ----------
    out : path-like
        Folder of the sheet.
    answers : path-like, optional
        CSV with the columns ``pair`` and ``composite`` ("left" or "right"); default
        ``answers.csv`` beside the sheet.

    Returns
    -------
    dict
        ``right, pairs, share``, ``low, high`` (95 % Wilson interval of the share) and ``p`` (of as
        many right by guessing, one-sided).

    Raises
    ------
    DeepMuCSError
        If a pair has no answer, or one that is neither left nor right.
    """
    out = Path(out)
    path = Path(answers or out / "answers.csv")
    for needed in (path, out / "blind_test_key.json"):
        if not needed.is_file():
            raise DeepMuCSError(f"{needed}: no such file; run `deepmucs realism` first.")
    key = json.loads((out / "blind_test_key.json").read_text())
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    given = {row.get("pair"): (row.get("composite") or "").strip().lower() for row in rows}
    for number in range(1, len(key) + 1):
        if given.get(str(number)) not in ("left", "right"):
            raise DeepMuCSError(
                f"{os.fspath(path)}: pair {number} has the answer {given.get(str(number), '')!r}; "
                "expected left or right, whichever is the composite."
            )
    right = sum(given[str(number)] == made for number, made in enumerate(key, 1))
    test = binomtest(right, len(key), 0.5, alternative="greater")
    interval = binomtest(right, len(key)).proportion_ci(method="wilson")
    return {
        "right": right,
        "pairs": len(key),
        "share": right / len(key),
        "low": float(interval.low),
        "high": float(interval.high),
        "p": float(test.pvalue),
    }
