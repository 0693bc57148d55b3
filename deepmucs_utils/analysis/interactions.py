"""Who sits next to whom, and more often than the same cells would by chance?

Cells of different size are not exchangeable: large ones keep others at a distance, so shuffling
the names over fixed places rejects true nulls. Here chance means the same cells, each with its
size and shape, placed anew where they do not overlap. What is measured, for each pair of cultures:
how many pairs of cells lie at which distance of their outlines (divided by the number under chance
it is a pair correlation), the distance to the nearest cell of the other culture, and the number of
neighbours.

Curves are judged as a whole by a global rank envelope (`envelopes`), so that one test stands for
all distances; p values of the pairs of cultures are corrected by Holm's method.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement, product

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from deepmucs_utils.analysis.envelopes import curve_p, envelope, holm
from deepmucs_utils.analysis.shapes import boundary_distances, place_anew
from deepmucs_utils.errors import DeepMuCSError

EDGES = np.arange(0, 101, 10.0)  # px: distances of outlines that the curves are counted in
NEIGHBOUR = 10.0  # px: cells whose outlines are this close are neighbours; one of `EDGES`


@dataclass(frozen=True)
class Measured:
    """What is counted in a set, in the set itself (row 0) and in each re-placement.

    Parameters
    ----------
    cultures : tuple of str
    pairs : ndarray of int, shape (R + 1, K, K, bins)
        Pairs of cells by culture of the one, culture of the other, distance; a pair of one culture
        counts once.
    nearest : ndarray of float, shape (R + 1, K, K)
        Mean distance (px) of a cell of the first culture to the nearest of the second; NaN where
        no image holds both.
    neighbours : ndarray of float, shape (R + 1, K, K)
        Mean number of neighbours of the second culture that a cell of the first has.
    """

    cultures: tuple
    pairs: np.ndarray
    nearest: np.ndarray
    neighbours: np.ndarray


@dataclass(frozen=True)
class Interactions:
    """Interactions of the cultures of a set.

    Parameters
    ----------
    curves : pandas.DataFrame
        Columns ``first, second, low, high`` (limits of the distance, px), ``pairs`` (observed),
        ``expected`` (mean under chance), ``g`` (their quotient), ``g_low``, ``g_high`` (global
        envelope: under chance the whole curve stays inside in 95 % of sets).
    tests : pandas.DataFrame
        One row a pair of cultures: ``first, second, pairs`` (observed up to the last distance),
        ``close``, ``expected`` (pairs of neighbours, observed and by chance), ``ratio`` (their
        quotient), ``p`` (of the whole curve), ``p_holm``, ``finding`` (``"attraction"``,
        ``"repulsion"``, ``"none found"`` at 5 %).
    nearest, neighbours : pandas.DataFrame
        One row a culture and another (or itself): ``of, to, n`` (cells), ``observed``,
        ``expected``, ``low``, ``high`` (2.5 and 97.5 % under chance), ``p``, ``p_holm``.
    """

    curves: pd.DataFrame
    tests: pd.DataFrame
    nearest: pd.DataFrame
    neighbours: pd.DataFrame


def neighbour_graph(scene, within=NEIGHBOUR):
    """Pairs of cells whose outlines are close.

    Parameters
    ----------
    scene : Scene
    within : float
        Px.

    Returns
    -------
    pandas.DataFrame
        Columns ``first, second`` (places of the cells, first < second) and ``distance`` (px).
    """
    if not scene.shapes:
        return pd.DataFrame({"first": [], "second": [], "distance": []})
    distance = boundary_distances(scene.discs(), scene.first_disc)
    first, second = np.nonzero(np.triu(distance <= within, 1))
    return pd.DataFrame({"first": first, "second": second, "distance": distance[first, second]})


def measure(scenes, replacements=199, seed=0, hidden=0.0, jobs=1):
    """Measure a set and its re-placements.

    Parameters
    ----------
    scenes : sequence of Scene
    replacements : int
        How often each image is placed anew.
    seed : int
        Each image has its own generator: the result does not depend on ``jobs``.
    hidden : float
        See `scenes.place_anew`.
    jobs : int
        Worker processes.

    Returns
    -------
    Measured

    Raises
    ------
    DeepMuCSError
        If the scenes hold fewer than two cells, or a cell finds no place.
    """
    cultures = tuple(sorted({name for scene in scenes for name in scene.cultures}))
    if sum(len(scene.shapes) for scene in scenes) < 2:
        raise DeepMuCSError("interactions: expected at least two cells in the set's images.")
    streams = np.random.SeedSequence(seed).spawn(len(scenes))
    filled = [pair for pair in zip(scenes, streams, strict=True) if len(pair[0].shapes)]
    tasks = (
        delayed(_measure_image)(scene, cultures, stream, replacements, hidden)
        for scene, stream in filled
    )
    done = Parallel(n_jobs=jobs, return_as="generator")(tasks)
    k, total = len(cultures), 0
    for part in tqdm(done, "re-placing", len(filled), unit="image", disable=None):
        total = total + part
    bins = len(EDGES) - 1
    counts = total[..., :bins].astype(int)
    cells = np.array([sum((s.cultures == name).sum() for s in scenes) for name in cultures])
    close = counts[..., : int(np.searchsorted(EDGES, NEIGHBOUR))].sum(axis=-1)
    close = close * (1 + np.eye(k, dtype=int))  # a pair of one culture gives each of them one
    with np.errstate(invalid="ignore"):
        nearest = total[..., bins] / total[..., bins + 1]
    return Measured(cultures, counts, nearest, close / cells[:, None])


def _measure_image(scene, cultures, stream, replacements, hidden):
    """Histogram, sum and number of nearest distances of one image: (R + 1, K, K, bins + 2)."""
    rng = np.random.default_rng(stream)
    k = len(cultures)
    code = np.array([cultures.index(name) for name in scene.cultures])
    first, second = np.triu_indices(code.size, 1)
    pair = np.minimum(code[first], code[second]) * k + np.maximum(code[first], code[second])
    result = np.zeros((replacements + 1, k, k, len(EDGES) + 1))
    for number in range(replacements + 1):
        discs = scene.discs() if number == 0 else place_anew(scene, rng, hidden)
        distance = boundary_distances(discs, scene.first_disc)
        place = np.searchsorted(EDGES, distance[first, second], side="right") - 1
        inside = place < len(EDGES) - 1
        counts = np.bincount(
            pair[inside] * (len(EDGES) - 1) + place[inside], minlength=k * k * (len(EDGES) - 1)
        ).reshape(k, k, -1)
        upper = np.triu(np.ones((k, k), bool), 1)[..., None]
        result[number, :, :, :-2] = counts + np.where(upper, counts, 0).transpose(1, 0, 2)
        for b in range(k):
            to = distance[:, code == b]
            if not to.shape[1]:
                continue
            near = to.min(axis=1)
            known = np.isfinite(near)
            result[number, :, b, -2] = np.bincount(code[known], near[known], minlength=k)
            result[number, :, b, -1] = np.bincount(code[known], minlength=k)
    return result


def analyse(scenes, replacements=199, seed=0, hidden=0.0, jobs=1, level=0.05):
    """Test every pair of cultures of a set against chance.

    Parameters
    ----------
    scenes, replacements, seed, hidden, jobs
        See `measure`. With R re-placements no p value is below 1 / (R + 1).
    level : float
        Level of the envelopes and of the findings.

    Returns
    -------
    Interactions
    """
    measured = measure(scenes, replacements, seed, hidden, jobs)
    cells = pd.Series(np.concatenate([scene.cultures for scene in scenes])).value_counts()
    pairs = list(combinations_with_replacement(range(len(measured.cultures)), 2))
    curves, tests = [], []
    close = int(np.searchsorted(EDGES, NEIGHBOUR))
    for a, b in pairs:
        counts = measured.pairs[:, a, b]
        names = {"first": measured.cultures[a], "second": measured.cultures[b]}
        expected = counts[1:].mean(axis=0)
        low, high = envelope(counts, level)
        with np.errstate(invalid="ignore", divide="ignore"):
            g = pd.DataFrame(
                {
                    "low": EDGES[:-1],
                    "high": EDGES[1:],
                    "pairs": counts[0],
                    "expected": expected,
                    "g": counts[0] / expected,
                    "g_low": low / expected,
                    "g_high": high / expected,
                }
            )
        curves.append(g.assign(**names)[["first", "second", *g.columns]])
        found, chance = int(counts[0, :close].sum()), float(expected[:close].sum())
        tests.append(
            names
            | {
                "pairs": int(counts[0].sum()),
                "close": found,
                "expected": chance,
                "ratio": found / chance if chance else np.nan,
                "p": curve_p(counts),
            }
        )
    tests = pd.DataFrame(tests)
    tests["p_holm"] = holm(tests["p"])
    direction = np.where(tests["ratio"] > 1, "attraction", "repulsion")
    tests["finding"] = np.where(tests["p_holm"] <= level, direction, "none found")
    return Interactions(
        pd.concat(curves, ignore_index=True),
        tests,
        _table(measured.nearest, measured.cultures, cells),
        _table(measured.neighbours, measured.cultures, cells),
    )


def _table(values, cultures, cells):
    """Observed against chance for each ordered pair of cultures."""
    rows = []
    for a, b in product(range(len(cultures)), repeat=2):
        column = values[:, a, b]
        if np.isnan(column).any():
            continue
        low, high = np.quantile(column[1:], [0.025, 0.975])
        rows.append(
            {
                "of": cultures[a],
                "to": cultures[b],
                "n": int(cells[cultures[a]]),
                "observed": column[0],
                "expected": column[1:].mean(),
                "low": low,
                "high": high,
                "p": curve_p(column[:, None]),
            }
        )
    table = pd.DataFrame(rows)
    table["p_holm"] = holm(table["p"])
    return table
