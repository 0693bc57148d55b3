"""Who sits next to whom, and more often than the same cells would by chance?

Cells of different size are not exchangeable: large ones keep others at a distance, so shuffling
the names over fixed places rejects true nulls. Here chance means the same cells, each with its
size and shape, placed at random where they do not overlap. For each pair of cultures we measure how
many pairs of cells lie at which distance of their outlines (divided by the number under chance, a
pair correlation), the distance to the nearest cell of the other culture, and the number of
neighbours.

Each curve is tested as a whole by a global rank envelope (`envelopes`), so that one test holds for
all distances; p values of the pairs of cultures are corrected by Holm's method.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement, product

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from deepmucs_utils.analysis.envelopes import LEVEL, curve_p, envelope, holm
from deepmucs_utils.analysis.shapes import boundary_distances, place_at_random
from deepmucs_utils.errors import DeepMuCSError

EDGES = np.arange(0, 101, 10.0)  # px: distances of outlines that the curves are counted in
NEIGHBOUR = 10.0  # px: cells whose outlines are this close are neighbours; one of `EDGES`


@dataclass(frozen=True)
class Measured:
    """What is counted in a set, in the set itself (row 0) and in each re-placement.

    Parameters
    ----------
    cultures : tuple of str
    cells : ndarray of int, shape (K,)
        Cells of each culture.
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
    cells: np.ndarray
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
        One row per pair of cultures: ``first, second, pairs`` (observed up to the last distance),
        ``close``, ``expected`` (pairs of neighbours, observed and by chance), ``ratio`` (their
        quotient), ``p`` (of the whole curve), ``p_holm``, ``finding`` (``"attraction"``,
        ``"repulsion"``, ``"none found"`` at 5 %).
    nearest, neighbours : pandas.DataFrame
        One row per culture and another (or itself): ``of, to, n`` (cells), ``observed``,
        ``expected``, ``low``, ``high`` (2.5 and 97.5 % under chance), ``p``, ``p_holm``.
    """

    curves: pd.DataFrame
    tests: pd.DataFrame
    nearest: pd.DataFrame
    neighbours: pd.DataFrame


def neighbour_graph(field) -> pd.DataFrame:
    """Pairs of cells whose outlines are at most `NEIGHBOUR` px apart.

    Parameters
    ----------
    field : Field

    Returns
    -------
    pandas.DataFrame
        Columns ``first, second`` (places of the cells, first < second) and ``distance`` (px).
    """
    if not field.shapes:
        return pd.DataFrame({"first": [], "second": [], "distance": []})
    distance = boundary_distances(field.discs(), field.first_disc)
    first, second = np.nonzero(np.triu(distance <= NEIGHBOUR, 1))
    return pd.DataFrame({"first": first, "second": second, "distance": distance[first, second]})


def measure_fields(fields, replacements=199, seed=0, hidden=0.0, jobs=1) -> Measured:
    """Measure a set and its re-placements.

    Parameters
    ----------
    fields : sequence of Field
        The images of the set.
    replacements : int
        Number of re-placements of each image.
    seed : int
        Each image has its own generator: the result does not depend on ``jobs``.
    hidden : float
        See `shapes.place_at_random`.
    jobs : int
        Worker processes.

    Returns
    -------
    Measured

    Raises
    ------
    DeepMuCSError
        If the set holds fewer than two cells, or a cell finds no place.
    """
    names = pd.Series([name for field in fields for name in field.cultures], dtype=object)
    if len(names) < 2:
        raise DeepMuCSError("interactions: expected at least two cells in the set's images.")
    cells = names.value_counts().sort_index()
    cultures = tuple(cells.index)
    streams = np.random.SeedSequence(seed).spawn(len(fields))
    filled = [pair for pair in zip(fields, streams, strict=True) if pair[0].shapes]
    tasks = (
        delayed(_measure_image)(field, cultures, stream, replacements, hidden)
        for field, stream in filled
    )
    done = Parallel(n_jobs=jobs, return_as="generator")(tasks)
    total = sum(tqdm(done, "re-placing", len(filled), unit="image", disable=None))
    pairs, (distance, n) = total[..., :-2].astype(int), np.moveaxis(total[..., -2:], -1, 0)
    other = ~np.eye(len(cultures), dtype=bool)[..., None]
    pairs += (pairs * other).swapaxes(1, 2)
    close = pairs[..., EDGES[1:] <= NEIGHBOUR].sum(axis=-1)
    close *= 2 - other[..., 0]  # a pair of one culture gives each of the two a neighbour
    with np.errstate(invalid="ignore"):
        nearest = distance / n
    return Measured(cultures, cells.to_numpy(), pairs, nearest, close / cells.to_numpy()[:, None])


def _measure_image(field, cultures, stream, replacements, hidden):
    """Pairs by distance (rising pairs of cultures only), sum and number of nearest distances.

    Shape (R + 1, K, K, bins + 2).
    """
    rng = np.random.default_rng(stream)
    k, bins = len(cultures), len(EDGES) - 1
    code = np.array([cultures.index(name) for name in field.cultures])
    first, second = np.triu_indices(code.size, 1)
    pair = np.sort([code[first], code[second]], axis=0)
    result = np.zeros((replacements + 1, k, k, bins + 2))
    for number, table in enumerate(result):
        discs = place_at_random(field, rng, hidden) if number else field.discs()
        distance = boundary_distances(discs, field.first_disc)
        place = np.searchsorted(EDGES, distance[first, second], side="right") - 1
        inside = place < bins
        np.add.at(table, (*pair[:, inside], place[inside]), 1)
        for culture in range(k):
            near = distance[:, code == culture].min(axis=1, initial=np.inf)
            known = np.isfinite(near)
            table[:, culture, -2] = np.bincount(code[known], near[known], minlength=k)
            table[:, culture, -1] = np.bincount(code[known], minlength=k)
    return result


def find_interactions(fields, replacements=199, seed=0, hidden=0.0, jobs=1) -> Interactions:
    """Test every pair of cultures of a set against chance.

    Parameters
    ----------
    fields, replacements, seed, hidden, jobs
        See `measure_fields`. With R re-placements no p value is below 1 / (R + 1).

    Returns
    -------
    Interactions
    """
    measured = measure_fields(fields, replacements, seed, hidden, jobs)
    curves, tests = [], []
    close = EDGES[1:] <= NEIGHBOUR
    for a, b in combinations_with_replacement(range(len(measured.cultures)), 2):
        counts = measured.pairs[:, a, b]
        names = {"first": measured.cultures[a], "second": measured.cultures[b]}
        observed, expected = counts[0], counts[1:].mean(axis=0)
        curve = {"low": EDGES[:-1], "high": EDGES[1:], "pairs": observed, "expected": expected}
        with np.errstate(invalid="ignore", divide="ignore"):
            quotients = np.array([observed, *envelope(counts)]) / expected
        curve |= dict(zip(("g", "g_low", "g_high"), quotients, strict=True))
        curves.append(pd.DataFrame(names | curve))
        test = {"pairs": observed.sum(), "close": observed[close].sum()}
        test |= {"expected": expected[close].sum(), "p": curve_p(counts)}
        tests.append(names | test)
    tests = pd.DataFrame(tests)
    tests.insert(5, "ratio", tests["close"] / tests["expected"].replace(0, np.nan))
    tests["p_holm"] = holm(tests["p"])
    direction = np.where(tests["ratio"] > 1, "attraction", "repulsion")
    tests["finding"] = np.where(tests["p_holm"] <= LEVEL, direction, "none found")
    return Interactions(
        pd.concat(curves, ignore_index=True),
        tests,
        _ordered_pairs(measured.nearest, measured),
        _ordered_pairs(measured.neighbours, measured),
    )


def _ordered_pairs(values, measured):
    """Observed values and those under chance for each ordered pair of cultures."""
    rows = []
    cultures = list(zip(measured.cultures, measured.cells.tolist(), strict=True))
    for (a, (of, n)), (b, (to, _)) in product(enumerate(cultures), repeat=2):
        column = values[:, a, b]
        if not np.isnan(column).any():
            low, high = np.quantile(column[1:], [0.025, 0.975])
            row = {"of": of, "to": to, "n": n, "observed": column[0], "expected": column[1:].mean()}
            rows.append(row | {"low": low, "high": high, "p": curve_p(column[:, None])})
    table = pd.DataFrame(rows)
    table["p_holm"] = holm(table["p"])
    return table
