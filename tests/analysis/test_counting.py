"""Cells are counted once each, at the best score; every one is in the confusion matrix."""

import numpy as np
import pytest

from deepmucs_utils.analysis.counting import (
    best_threshold,
    calibration,
    confident,
    confusion_matrix,
    count,
)
from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.evaluation.matching import Matched, match_files
from tests.coco_scenes import (
    ONE_WRONG_CLASS,
    THREE,
    THREE_CELLS,
    blobs,
    cell,
    detection,
    loaded,
    matched,
    square,
    write,
)


def entries(table):
    """The entries that are not 0, by true and predicted culture."""
    return {key: int(n) for key, n in table.stack().items() if n}


def test_three_cells_one_wrong_class():
    table = confusion_matrix(count(*loaded(THREE_CELLS, ONE_WRONG_CLASS)))
    assert entries(table) == {("A172", "A172"): 2, ("A172", "BV2"): 1}
    assert list(table.index) == [*CULTURE_NAMES, "false"]
    assert list(table.columns) == [*CULTURE_NAMES, "missed"]


def test_missed_and_false_cells_have_their_row_and_column():
    found = [detection("A172", THREE[0], 0.9), detection("BV2", square(80, 80), 0.8)]
    table = confusion_matrix(count(*loaded(THREE_CELLS, found)))
    assert entries(table) == {("A172", "A172"): 1, ("A172", "missed"): 2, ("false", "BV2"): 1}


def test_a_crowd_region_is_neither_missed_nor_is_a_detection_on_it_false():
    cells = [cell("A172", THREE[0]), cell("A172", square(40, 40, 30), iscrowd=1)]
    found = [detection("BV2", square(45, 45), 0.8), detection("MCF7", square(60, 60), 0.7)]
    assert entries(confusion_matrix(count(*loaded(cells, found)))) == {("A172", "missed"): 1}


def test_sums_are_the_numbers_of_cells_and_detections_and_the_matrix_is_hotcocos(tmp_path):
    paths = write(tmp_path, *blobs(seed=1, n_images=6, per_image=30))
    found = match_files(*paths)
    truth, kept = found.truth, confident(found.records, threshold=0.3)
    table = confusion_matrix(count(truth, kept))
    ids = [annotation["category_id"] for annotation in truth["annotations"]]
    assert list(table.sum(axis=1)[:-1]) == list(np.bincount(ids, minlength=9)[1:])
    assert table.drop(columns="missed").to_numpy().sum() == len(kept)
    theirs = Matched(truth, kept).evaluation(areas=["all"]).confusion_matrix()
    assert (table.to_numpy() == theirs["matrix"]).all()


def test_calibration_of_forty_scores():
    """20 detections with score 0.75, of which 15 are right; 20 with 0.95, of which 10 are: the
    differences are 0 and 0.45, on average 0.225."""
    places = [square(x, y) for y in range(0, 60, 15) for x in range(0, 90, 15)]
    cells = [cell("A172", place, image) for image in range(2) for place in places[:20]]
    found = [
        detection("A172" if i < right else "BV2", places[i], score, image)
        for image, (score, right) in enumerate([(0.75, 15), (0.95, 10)])
        for i in range(20)
    ]
    table, error = calibration(matched(cells, found, n_images=2))
    assert list(table["n"]) == [0, 0, 0, 0, 0, 0, 0, 20, 0, 20]
    assert table["right"][7] == pytest.approx(0.75) and table["right"][9] == pytest.approx(0.5)
    assert table["score"][9] == pytest.approx(0.95)
    assert error == pytest.approx(0.225)
    few = calibration(matched(cells, found[:19], n_images=2))[0]
    assert few["n"][7] == 19 and np.isnan(few["right"][7])


def test_a_score_on_the_edge_of_two_bins_belongs_to_the_upper_one():
    """0.3, 0.6 and 0.7 are less than the edges that `linspace` gives by a rounding error."""
    scores = np.arange(1, 10) / 10
    found = [detection("A172", THREE[0], float(score)) for score in scores]
    table, _ = calibration(matched(THREE_CELLS, found))
    assert list(table["n"]) == [0] + [1] * 9


def test_without_detections_there_is_nothing_to_calibrate():
    table, error = calibration(matched(THREE_CELLS, []))
    assert table["n"].sum() == 0 and np.isnan(error)


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
