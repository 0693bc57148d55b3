"""The paper's statements on cultures and training sets, each held or not held on your data.

Paper, section V, "Results". Its three training sets stand for your smallest, middle and
largest one; statements are on segmentation mAP.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from deepmucs_utils.data.cultures import LABELS
from deepmucs_utils.evaluation.metrics import MIN_CELLS

LEAST_CULTURES = 4  # with fewer, "best" and "second worst" say little


@dataclass(frozen=True)
class Claim:
    """One statement.

    Parameters
    ----------
    text : str
    sets : tuple of int
        Which training sets it is on: 0 the smallest, 1, 2.
    cultures : tuple of str
        Cultures that it names; without them it cannot be checked.
    holds : callable
        Takes a table of the AP (percent; one row per replicate, one column per culture) for each of
        ``sets``; gives for each row whether the statement holds.
    """

    text: str
    sets: tuple
    cultures: tuple
    holds: Callable


def _ranked(training_set, place, culture):
    """A culture's place in the ranking by AP: 0 the best, −1 the worst."""
    size = ("smallest", "middle", "largest")[training_set]
    rank = {0: "best", 1: "second", -1: "worst", -2: "second worst"}[place]

    def holds(models):
        order = np.argsort(-models[0].to_numpy(), axis=1, kind="stable")
        return models[0].columns[order[:, place]] == culture

    return Claim(f"{size} set: {LABELS[culture]} is {rank}", (training_set,), (culture,), holds)


def _all_rise(models):
    return np.all([(b > a).all(axis=1) for a, b in pairwise(models)], axis=0)


def _mean_rises(models):
    return models[1].mean(axis=1) > models[0].mean(axis=1)


def _gain_shrinks(models):
    small, middle, large = (model.mean(axis=1) for model in models)
    return (0 < large - middle) & (large - middle < middle - small)


CLAIMS = (
    _ranked(0, 0, "SkBr3"),
    _ranked(0, 1, "A172"),
    _ranked(0, -1, "BV2"),
    _ranked(0, -2, "SHSY5Y"),
    _ranked(1, 0, "A172"),
    _ranked(1, 1, "SkBr3"),
    _ranked(1, -1, "SHSY5Y"),
    _ranked(2, 0, "A172"),
    _ranked(2, -1, "SHSY5Y"),
    Claim("every culture improves with every larger set", (0, 1, 2), (), _all_rise),
    Claim("mean AP: the middle set is better than the smallest", (0, 1), (), _mean_rises),
    Claim("mean AP: the largest set is better than the middle", (1, 2), (), _mean_rises),
    Claim("the second step gains less than the first", (0, 1, 2), (), _gain_shrinks),
)


def check_claims(result, min_cells=MIN_CELLS) -> pd.DataFrame:
    """Check the paper's statements on three models.

    Parameters
    ----------
    result : intervals.Bootstrap
        Of the segmentation AP of the models trained on the smallest, the middle and the largest
        set, in this order.
    min_cells : int
        Cultures with fewer cells in the test set are left out.

    Returns
    -------
    pandas.DataFrame
        One row per statement: ``statement``, ``held`` (``"held"``, ``"not held"`` on the set
        itself, or ``"not testable"`` where a culture that it names is lacking, or more than half
        of all are), ``share`` (percent of the bootstrap replicates in which it holds), ``here``
        (what was found, in words).
    """
    names = list(result.models["model"].unique())
    counts = result.models.drop_duplicates("culture").set_index("culture")["n"].drop("all")
    kept = list(counts.index[counts >= min_cells])
    rows = []
    for claim in CLAIMS:
        row = {"statement": claim.text, "held": "not testable", "share": np.nan, "here": ""}
        enough = len(names) == 3 and len(kept) >= LEAST_CULTURES
        if enough and set(claim.cultures) <= set(kept):
            models = [result.by_culture[names[number]][kept] for number in claim.sets]
            held = np.asarray(claim.holds(models))
            row["held"] = "held" if held[0] else "not held"
            row["share"] = 100 * held[1:].mean()
            row["here"] = _found([model.iloc[0] for model in models])
        rows.append(row)
    return pd.DataFrame(rows)


def _found(models):
    """What was found: the ranking's ends for a statement on one model, else the means."""
    if len(models) == 1:
        ranking = models[0].sort_values(ascending=False).rename(LABELS)
        ends = {"best": ranking[:2], "worst": ranking[:-3:-1]}
        return "; ".join(
            f"{end} " + ", ".join(f"{name} {ap:.1f}" for name, ap in part.items())
            for end, part in ends.items()
        )
    means = " → ".join(f"{model.mean():.1f}" for model in models)
    fallen = {LABELS.get(name, name) for a, b in pairwise(models) for name in a.index[b <= a]}
    words = f"; not better in one step or another: {', '.join(sorted(fallen))}"
    return means + (words if fallen else "")
