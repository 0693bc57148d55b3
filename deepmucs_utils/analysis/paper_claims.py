"""The paper's statements on cultures and training sets, each held or not held on your data.

Paper, section V, "Results". Its three training sets stand for your smallest, middle and
largest one; statements are on segmentation mAP.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from deepmucs_utils.data.cultures import LABELS
from deepmucs_utils.evaluation.metrics import MIN_CELLS

LEAST_CULTURES = 4  # with fewer, "best" and "second worst" say little


class Claim(NamedTuple):
    """One statement.

    Parameters
    ----------
    text : str
    sets : tuple of int
        Which training sets it is on: 0 the smallest, 1, 2.
    holds : callable
        Takes a table of the AP (percent; one row per replicate, one column per culture) for each of
        ``sets``; gives for each row whether the statement holds.
    culture : str, optional
        Culture that it names; without it, it cannot be checked.
    """

    text: str
    sets: tuple
    holds: Callable
    culture: str | None = None


def _is_ranked(culture, rank, models):
    order = np.argsort(-models[0].to_numpy(), axis=1, kind="stable")
    return models[0].columns[order[:, _PLACES[rank]]] == culture


def _all_rise(models):
    return np.all([(b > a).all(axis=1) for a, b in pairwise(models)], axis=0)


def _mean_rises(models):
    return models[1].mean(axis=1) > models[0].mean(axis=1)


def _gain_shrinks(models):
    small, middle, large = (model.mean(axis=1) for model in models)
    return (0 < large - middle) & (large - middle < middle - small)


_PLACES = {"best": 0, "second": 1, "worst": -1, "second worst": -2}
_RANKED = {  # by training set
    "smallest": {"SkBr3": "best", "A172": "second", "BV2": "worst", "SHSY5Y": "second worst"},
    "middle": {"A172": "best", "SkBr3": "second", "SHSY5Y": "worst"},
    "largest": {"A172": "best", "SHSY5Y": "worst"},
}
CLAIMS = (
    *(
        Claim(f"{size} set: {LABELS[name]} is {rank}", (i,), partial(_is_ranked, name, rank), name)
        for i, (size, ranked) in enumerate(_RANKED.items())
        for name, rank in ranked.items()
    ),
    Claim("every culture improves with every larger set", (0, 1, 2), _all_rise),
    Claim("mean AP: the middle set is better than the smallest", (0, 1), _mean_rises),
    Claim("mean AP: the largest set is better than the middle", (1, 2), _mean_rises),
    Claim("the second step gains less than the first", (0, 1, 2), _gain_shrinks),
)


def check_claims(result) -> pd.DataFrame:
    """Check the paper's statements on three models.

    Parameters
    ----------
    result : intervals.Bootstrap
        Of the segmentation AP of the models trained on the smallest, the middle and the largest
        set, in this order. Cultures with fewer than `MIN_CELLS` cells are left out.

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
    kept = list(counts.index[counts >= MIN_CELLS])
    enough = len(names) == 3 and len(kept) >= LEAST_CULTURES
    rows = []
    for text, sets, holds, culture in CLAIMS:
        row = {"statement": text, "held": "not testable", "share": np.nan, "here": ""}
        if enough and (culture in kept or culture is None):
            models = [result.by_culture[names[number]][kept] for number in sets]
            held = np.asarray(holds(models))
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
