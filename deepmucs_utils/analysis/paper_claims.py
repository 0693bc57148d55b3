"""The paper's statements on cultures and training sets, each held or not held on your data.

Paper, section V, "Results". Its three training sets stand for your smallest, middle and
largest one; statements are on segmentation mAP.
"""

from dataclasses import dataclass

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
        Takes a list with the AP by culture (pandas.Series, percent) of each of ``sets``; gives
        whether the statement holds.
    """

    text: str
    sets: tuple
    cultures: tuple
    holds: callable


def _ranked(place, culture):
    """Whether a culture is at a place of the ranking by AP: 0 the best, −1 the worst."""
    return lambda models: models[0].sort_values(ascending=False).index[place] == culture


def _all_rise(models):
    return all((b > a).all() for a, b in zip(models, models[1:], strict=False))


def _mean_rises(models):
    return models[1].mean() > models[0].mean()


def _gain_shrinks(models):
    small, middle, large = (model.mean() for model in models)
    return 0 < large - middle < middle - small


CLAIMS = (
    Claim("smallest set: SkBr3 is best", (0,), ("SkBr3",), _ranked(0, "SkBr3")),
    Claim("smallest set: A172 is second", (0,), ("A172",), _ranked(1, "A172")),
    Claim("smallest set: BV-2 is worst", (0,), ("BV2",), _ranked(-1, "BV2")),
    Claim("smallest set: SH-SY5Y is second worst", (0,), ("SHSY5Y",), _ranked(-2, "SHSY5Y")),
    Claim("middle set: A172 is best", (1,), ("A172",), _ranked(0, "A172")),
    Claim("middle set: SkBr3 is second", (1,), ("SkBr3",), _ranked(1, "SkBr3")),
    Claim("middle set: SH-SY5Y is worst", (1,), ("SHSY5Y",), _ranked(-1, "SHSY5Y")),
    Claim("largest set: A172 is best", (2,), ("A172",), _ranked(0, "A172")),
    Claim("largest set: SH-SY5Y is worst", (2,), ("SHSY5Y",), _ranked(-1, "SHSY5Y")),
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
    kept = [culture for culture, n in counts.items() if n >= min_cells]
    rows = []
    for claim in CLAIMS:
        row = {"statement": claim.text, "held": "not testable", "share": np.nan, "here": ""}
        testable = (
            len(names) == 3 and set(claim.cultures) <= set(kept) and len(kept) >= LEAST_CULTURES
        )
        if testable:
            tables = [result.by_culture[names[number]][kept] for number in claim.sets]
            held = [
                bool(claim.holds([table.iloc[draw] for table in tables]))
                for draw in range(len(tables[0]))
            ]
            row["held"] = "held" if held[0] else "not held"
            row["share"] = 100 * np.mean(held[1:])
            row["here"] = _found(claim, [table.iloc[0] for table in tables])
        rows.append(row)
    return pd.DataFrame(rows)


def _found(claim, models):
    """What was found: the ranking's ends for a statement on one model, else the means."""
    if len(models) == 1:
        ranking = models[0].sort_values(ascending=False)
        best, worst = ranking.head(2), ranking.tail(2)[::-1]
        words = [
            ", ".join(f"{LABELS.get(name, name)} {ap:.1f}" for name, ap in end.items())
            for end in (best, worst)
        ]
        return f"best {words[0]}; worst {words[1]}"
    means = " → ".join(f"{model.mean():.1f}" for model in models)
    fallen = sorted(
        {
            LABELS.get(name, name)
            for a, b in zip(models, models[1:], strict=False)
            for name in a.index[b <= a]
        }
    )
    return means + (f"; not better in one step or another: {', '.join(fallen)}" if fallen else "")
