"""Level and power of the interaction test on simulated scenes with a known interaction."""

import os
from dataclasses import asdict, dataclass
from itertools import product

import cv2
import numpy as np
import pandas as pd
from joblib import Memory, Parallel, delayed
from scipy import ndimage
from scipy.stats import binom
from tqdm import tqdm

from deepmucs_utils.analysis.envelopes import holm
from deepmucs_utils.analysis.interactions import find_interactions
from deepmucs_utils.analysis.shapes import Field, Shape

CULTURES = "large", "small"
RADII = {"large": (16.0, 24.0), "small": (6.0, 9.0)}  # px, long half-axes: about A172 and BV2
CHOICES = 16  # places that an interacting cell chooses from
REACH = 8.0  # px between outlines, within which the cultures interact
PAD = 32  # px around the canvas, more than half of the longest cell
STRENGTHS = (-2.0, -1.0, 1.0, 2.0)
CELLS = (6, 12, 24)  # of each culture in each image
FORGETFUL = Memory(None, verbose=0)  # keeps nothing


@dataclass(frozen=True)
class Design:
    """What a simulated set looks like.

    Parameters
    ----------
    images : int
    cells : int
        Of each of the two cultures in each image.
    strength : float
        Logarithm of how much more often a small cell takes a place within `REACH` of a large one
        than one beyond; 0 is chance, negative repulsion.
    area : float
        Canvas per cell, px²; with 4,000 the cells cover an eighth of it.
    replacements : int
        See `interactions.measure`.
    """

    images: int = 4
    cells: int = 12
    strength: float = 0.0
    area: float = 4000.0
    replacements: int = 59


def simulate_scene(design, rng):
    """One image: ellipses that do not overlap, the large ones first; some are cut by the border.

    Parameters
    ----------
    design : Design
    rng : numpy.random.Generator

    Returns
    -------
    Field
    """
    height = round(np.sqrt(2 * design.cells * design.area * 0.75))
    size = height, round(height / 0.75)
    owner = np.pad(np.zeros(size, int), PAD, constant_values=-1)  # -1: beyond the border
    image = owner[PAD:-PAD, PAD:-PAD]
    cultures, beyond = np.repeat(np.array(CULTURES, object), design.cells), None
    for number, culture in enumerate(cultures, 1):
        if number == design.cells + 1 and design.strength:
            beyond = ndimage.distance_transform_edt(image == 0)
        mask = _ellipse(rng, RADII[culture])
        below = np.ones(1)
        while (below > 0).any() or not (below == 0).any():
            top, left = _propose(mask, size, beyond, design.strength, rng)
            window = owner[PAD + top :, PAD + left :][: len(mask), : len(mask)]
            below = window[mask]
        window[mask & (window == 0)] = number
    places = ndimage.find_objects(image)
    shapes = tuple(Shape(image[place] == n) for n, place in enumerate(places, 1))
    corners = np.array([[rows.start, columns.start] for rows, columns in places])
    return Field(size, shapes, corners, cultures)


def _ellipse(rng, radii):
    long = rng.uniform(*radii)
    side = int(2 * long) + 5
    mask = np.zeros((side, side), np.uint8)
    axes = round(long), round(long * rng.uniform(0.5, 1))
    cv2.ellipse(mask, (side // 2, side // 2), axes, rng.uniform(0, 180), 0, 360, 1, -1)
    return mask > 0


def _propose(mask, size, beyond, strength, rng):
    """A place; of several, where there is an interaction, weighted by it."""
    n = 1 if beyond is None else CHOICES
    places = (rng.random((n, 2)) * size).astype(int)
    chosen = 0
    if beyond is not None:
        radius = np.sqrt(np.count_nonzero(mask) / np.pi)
        near = beyond[places[:, 0], places[:, 1]] - radius <= REACH
        weights = np.exp(strength * near)
        chosen = rng.choice(n, p=weights / weights.sum())
    return (places[chosen] - np.array(mask.shape) // 2).tolist()


def run_sets(design, sets, seed=0, jobs=1, memory=FORGETFUL) -> pd.DataFrame:
    """Analyse simulated sets.

    Parameters
    ----------
    design : Design
    sets : int
    seed, jobs : int
        Each set has its own generators: the result does not depend on ``jobs``.
    memory : joblib.Memory
        Where finished sets are kept, for an interrupted study to resume.

    Returns
    -------
    pandas.DataFrame
        One row per set. p values of: ``large-large``, ``large-small``, ``small-small`` (curves),
        ``nearest`` and ``neighbours`` (from small to large) and ``any`` (the smallest after Holm's
        correction of the three curves).
    """
    run = memory.cache(_run_set)
    tasks = (delayed(run)(design, seed, number) for number in range(sets))
    done = Parallel(n_jobs=jobs, return_as="generator")(tasks)
    return pd.DataFrame(list(tqdm(done, f"strength {design.strength:g}", sets, disable=None)))


def _run_set(design, seed, number):
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    scenes = [simulate_scene(design, rng) for _ in range(design.images)]
    found = find_interactions(scenes, design.replacements, seed=int(rng.integers(2**31)))
    curves = found.tests.set_index(found.tests["first"] + "-" + found.tests["second"])["p"]
    to_large = {
        name: getattr(found, name).set_index(["of", "to"]).loc[("small", "large"), "p"]
        for name in ("nearest", "neighbours")
    }
    return curves.to_dict() | to_large | {"any": holm(curves).min()}


def rejections(p_values, level=0.05) -> pd.DataFrame:
    """How often each test rejects, with the limits that chance leaves.

    Parameters
    ----------
    p_values : pandas.DataFrame
        From `run_sets`.
    level : float

    Returns
    -------
    pandas.DataFrame
        One row per test: ``sets``, ``rejected`` (share), ``low``, ``high`` (the binomial 95 % range
        of that share when the level is kept) and ``kept`` (whether it lies in the range or below:
        tied curves make the test cautious).
    """
    n = len(p_values)
    low, high = binom.interval(0.95, n, level)
    rejected = (p_values <= level).mean()
    return pd.DataFrame(
        {
            "sets": n,
            "rejected": rejected,
            "low": low / n,
            "high": high / n,
            "kept": rejected <= high / n,
        }
    ).rename_axis("test")


def validate(sets=1000, power_sets=100, seed=0, jobs=1, memory=FORGETFUL):
    """Measure type I error and power on simulated sets.

    Parameters
    ----------
    sets : int
        Null sets for the type I error.
    power_sets : int
        Sets for each combination of `STRENGTHS` and `CELLS`.
    seed, jobs, memory
        See `run_sets`.

    Returns
    -------
    dict of str to DataFrame
        ``type_one`` (`rejections`), ``design`` (`Design`) and ``power``: columns ``strength``,
        ``cells`` (of each culture in the whole set), ``images, sets, curve, nearest, neighbours``,
        the share of sets in which each test of the mixed pair rejects at 5 %.
    """
    type_one = rejections(run_sets(Design(), sets, seed, jobs, memory))
    rows = []
    for strength, cells in product(STRENGTHS, CELLS):
        design = Design(cells=cells, strength=strength)
        found = (run_sets(design, power_sets, seed + 1, jobs, memory) <= 0.05).mean()
        size = {"cells": cells * design.images, "images": design.images, "sets": power_sets}
        tests = found.rename({"large-small": "curve"})[["curve", "nearest", "neighbours"]]
        rows.append({"strength": strength} | size | tests.to_dict())
    design = pd.DataFrame([asdict(Design())])
    return {"type_one": type_one, "power": pd.DataFrame(rows), "design": design}


def study(root, folder):
    """Type I error and power as records; finished sets are kept in a folder. Needs no root."""
    tables = validate(jobs=os.cpu_count(), memory=Memory(folder, verbose=0))
    tables["type_one"] = tables["type_one"].reset_index()
    return {name: table.to_dict("records") for name, table in tables.items()}
