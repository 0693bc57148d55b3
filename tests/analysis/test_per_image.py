"""Each image has its AP50 and its most frequent error in words; a rule chooses what is shown."""

import math

import numpy as np
import pandas as pd
import pytest

from deepmucs_utils.analysis.per_image import choose, image_ap50, image_table
from deepmucs_utils.evaluation.matching import Matched, match_files
from deepmucs_utils.evaluation.metrics import evaluate
from tests.coco_scenes import (
    ONE_WRONG_CLASS,
    THREE,
    THREE_CELLS,
    blobs,
    cell,
    detection,
    matched,
    square,
    write,
)


def words(cells, found, threshold=0.0):
    return image_table(matched(cells, found), threshold)["words"][0]


def test_three_cells_one_wrong_class():
    row = image_table(matched(THREE_CELLS, ONE_WRONG_CLASS), threshold=0.5).iloc[0]
    assert row["AP50"] == pytest.approx(100 * 67 / 101)
    assert row["dominant"] == "class" and row["class"] == 1 and row["missed"] == 0
    assert row["words"] == "class: 1 of 3 cells got the wrong name (A172 taken for BV-2)"


def test_every_kind_of_error_in_words():
    right = [detection("A172", place, 0.9) for place in THREE]
    false = [detection("BV2", square(80, y), 0.8) for y in (60, 80)]
    assert words(THREE_CELLS, right) == "all 3 cells right"
    assert words([], []) == "no cells, none predicted"
    assert words(THREE_CELLS, right[:1]) == "missed: 2 of 3 cells (A172)"
    assert words(THREE_CELLS, right + false) == (
        "background: 2 detections where there is no cell (BV-2)"
    )
    beside = [detection("A172", square(14, 10), 0.9)]
    assert words(THREE_CELLS, right[1:] + beside) == (
        "localisation: 1 outline overlaps a cell of the right culture by less than half (A172)"
    )
    other = detection("MCF7", THREE[1], 0.9)
    assert words(THREE_CELLS, [ONE_WRONG_CLASS[2], other, right[0]]) == (
        "class: 2 of 3 cells got the wrong name (1 A172 taken for BV-2, 1 A172 taken for MCF7)"
    )


def test_errors_below_the_threshold_are_not_counted_but_a_cell_found_there_is_missed():
    found = [detection("A172", place, 0.9 - 0.3 * i) for i, place in enumerate(THREE)]
    row = image_table(matched(THREE_CELLS, found), threshold=0.5).iloc[0]
    assert row["AP50"] == pytest.approx(100) and row["words"] == "missed: 1 of 3 cells (A172)"


def test_the_ap50_of_an_image_is_that_of_a_set_of_this_image_alone(tmp_path):
    paths = write(tmp_path, *blobs(seed=3, n_images=5, per_image=12, crowd=0.2))
    together = match_files(*paths)
    ours = image_ap50(together)
    truth, found = together.truth, together.records
    for image in range(5):
        alone = truth | {
            "images": [truth["images"][image]],
            "annotations": [a for a in truth["annotations"] if a["image_id"] == image],
        }
        matches = Matched(alone, [f for f in found if f["image_id"] == image])
        assert ours[image] == pytest.approx(evaluate(matches)["segm"]["AP50"])


def test_an_image_without_cells_has_no_ap50():
    ap50 = image_ap50(matched([cell("A172", THREE[0], image=1)], [], n_images=2))
    assert math.isnan(ap50[0]) and ap50[1] == 0


def test_the_best_and_the_worst_images_with_enough_cells_are_chosen():
    table = pd.DataFrame(
        {
            "image_id": range(7),
            "cells": [20, 9, 9, 3, 30, 8, 12],
            "cultures": [4, 4, 5, 1, 4, 4, 4],
            "AP50": [50, 100, 100, 0, 10, 60, np.nan],
        }
    )
    adequate, inadequate = choose(table, 2)
    assert list(adequate["image_id"]) == [2, 1]  # as good, but with more cultures
    assert list(inadequate["image_id"]) == [4, 0]  # image 3 has too few cells
    adequate, inadequate = choose(table, 3)  # fewer than six images have eight cells
    assert list(adequate["image_id"]) == [2, 1, 5] and list(inadequate["image_id"]) == [3, 4, 0]
