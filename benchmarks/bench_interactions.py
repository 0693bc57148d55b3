"""The interaction analysis on images of 120 cells, and whether it keeps its level.

The whole validation, 1,000 null sets and the power, is `make studies STUDY=interaction-power`; its
result is kept in ``book/measured/interaction_power.json`` for notebook 51.
"""

import time

import numpy as np

from deepmucs_utils.analysis.interactions import find_interactions
from deepmucs_utils.studies.interactions.null_and_power import (
    Design,
    rejections,
    run_sets,
    simulate_scene,
)

IMAGES = 20
REPLACEMENTS = 99
NULL_SETS = 100


def run():
    """Time one analysis, and count rejections in `NULL_SETS` null sets.

    Returns
    -------
    dict
        Seconds; share of null sets rejected at 5 % by each test, beside the upper binomial limit.
    """
    rng = np.random.default_rng(0)
    scenes = [simulate_scene(Design(cells=60), rng) for _ in range(IMAGES)]
    start = time.perf_counter()
    find_interactions(scenes, REPLACEMENTS)
    result = {
        "images": IMAGES,
        "cells": sum(len(scene.shapes) for scene in scenes),
        "replacements": REPLACEMENTS,
        "analyse_s": time.perf_counter() - start,
    }
    start = time.perf_counter()
    table = rejections(run_sets(Design(), NULL_SETS, jobs=2))
    result |= {"null_sets": NULL_SETS, "null_sets_s": time.perf_counter() - start}
    result["highest_share_that_chance_allows"] = table["high"].iloc[0]
    return result | {f"rejected: {test}": share for test, share in table["rejected"].items()}
