"""Cells are counted at the score where precision and recall are best together, each once."""

import pytest

from deepmucs_utils.analysis.operating_point import best_threshold, confident
from tests.coco_scenes import ONE_WRONG_CLASS, THREE, THREE_CELLS, detection, matched, square


def test_the_threshold_lies_at_the_best_f1():
    """Right at 0.9 and 0.8, wrong at 0.7: two of two are right, two of three cells are found."""
    assert best_threshold(matched(THREE_CELLS, ONE_WRONG_CLASS)) == (0.8, pytest.approx(4 / 5))


def test_equal_scores_come_in_together():
    found = [detection("A172", place, 0.5) for place in THREE]
    found += [detection("A172", square(80, 80), 0.5)]
    assert best_threshold(matched(THREE_CELLS, found)) == (0.5, pytest.approx(6 / 7))


def test_where_no_detection_is_right_none_is_kept():
    for found in ([], [detection("BV2", THREE[0], 0.9)]):
        threshold, f1 = best_threshold(matched(THREE_CELLS, found))
        assert f1 == 0 and confident(found, threshold) == []


def test_of_two_names_for_one_cell_the_higher_score_stays():
    first, second = detection("A172", THREE[0], 0.6), detection("BV2", square(11, 10), 0.9)
    elsewhere = detection("A172", THREE[1], 0.7)
    assert confident([first, elsewhere, second], threshold=0) == [elsewhere, second]
    assert confident([first, elsewhere], threshold=0.65) == [elsewhere]
    assert confident([first | {"image_id": 1}, second], 0) == [first | {"image_id": 1}, second]
    assert confident([], 0) == []


def test_what_a_dropped_detection_covered_is_free_again():
    """The middle of three overlapping squares goes; the third overlaps only the middle by half."""
    chain = [detection("A172", square(10 + 3 * i, 10), 0.9 - 0.1 * i) for i in range(3)]
    assert confident(chain, 0) == [chain[0], chain[2]]
