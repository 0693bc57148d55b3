"""What would twice as many training images bring?

Three points don't tell a law from another, so two are carried on and give a range: AP rises by as
much for each doubling as it did in the last step (a straight line on a logarithmic axis), or by a
share of it, as the last step's gain a doubling was a share of the step's before.
"""

import numpy as np
import pandas as pd

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.resampling import interval


def next_doubling(images, result, confidence=0.95):
    """Carry a learning curve on to twice the largest training set.

    Parameters
    ----------
    images : sequence of int
        Training images of each model, rising.
    result : bootstrap.Bootstrap
        Of the models in this order.
    confidence : float

    Returns
    -------
    pandas.DataFrame
        One row an assumption, ``"steady"`` and (with three models or more) ``"shrinking"``:
        ``gain`` (points of AP from the next doubling), ``low``, ``high`` (`bootstrap.interval` of
        the gain over the paired replicates: it holds what the test set leaves open, not the spread
        between trainings), ``AP`` (percent, at twice the largest set), ``verdict``: whether the
        interval tells the gain from zero.

    Raises
    ------
    DeepMuCSError
        If there are fewer than two models or their training sets do not grow.
    """
    doublings = np.log2(np.asarray(images, float))
    if doublings.size < 2 or (np.diff(doublings) <= 0).any():
        raise DeepMuCSError(
            f"training images {list(images)}: expected at least two numbers, each larger than the "
            "one before."
        )
    names = list(result.replicates.columns)
    ap = pd.DataFrame({name: result.by_culture[name].mean(axis=1) for name in names}).to_numpy()
    slopes = np.diff(ap, axis=1) / np.diff(doublings)  # points a doubling, step by step
    gains = {"steady": slopes[:, -1]}
    if slopes.shape[1] > 1:
        # The step's middle lies between its ends; the next doubling's middle half a doubling on.
        middles = (doublings[1:] + doublings[:-1]) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.clip(slopes[:, -1] / slopes[:, -2], 0, 1)
        share = np.where(slopes[:, -2] > 0, share, 1)
        steps = (doublings[-1] + 0.5 - middles[-1]) / (middles[-1] - middles[-2])
        gains["shrinking"] = slopes[:, -1] * share**steps
    table = pd.DataFrame.from_dict(
        {name: interval(gain, result.n_blocks, confidence) for name, gain in gains.items()},
        orient="index",
    ).rename(columns={"estimate": "gain"})
    table["AP"] = ap[0, -1] + table["gain"]
    told_apart = (table["low"] > 0) | (table["high"] < 0)
    table["verdict"] = np.where(told_apart, "told apart from zero", "not told apart from zero")
    return table.rename_axis("assumption")
