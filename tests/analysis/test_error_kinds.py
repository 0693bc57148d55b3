"""Each kind of error is recognised and counted, and its cost in AP50 is measured."""

import pytest

from deepmucs_utils.analysis.error_kinds import ERRORS, decompose, label_errors
from deepmucs_utils.evaluation.matching import match_files
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

HOTCOCO = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
TWO_OF_THREE = 100 * 67 / 101  # recalls 0, 0.01 … 0.66 are reached with precision 1


def errors_of(*detections, cells=THREE_CELLS):
    labelled = label_errors(matched(cells, list(detections)))
    return list(labelled.detections["error"]), list(labelled.cells["error"])


def test_three_cells_one_wrong_class():
    found = matched(THREE_CELLS, ONE_WRONG_CLASS)
    labelled = label_errors(found)
    assert list(labelled.detections["error"]) == ["", "", "class"]
    assert list(labelled.detections["cell"]) == [0, 1, 2]
    assert list(labelled.cells["found"]) == [True, True, False]
    assert list(labelled.cells["error"]) == ["", "", ""]  # the third has the wrong name only
    table = decompose(found).loc["all"]
    assert table["n"].to_dict() == dict.fromkeys(ERRORS, 0) | {"class": 1}
    assert table["AP50"].to_list() == pytest.approx([TWO_OF_THREE] * 6)
    gain = dict.fromkeys(ERRORS, 0) | {"class": 100 - TWO_OF_THREE}
    assert table["gain"].to_dict() == pytest.approx(gain)


def test_each_kind_by_itself():
    right = [detection("A172", place, 0.9) for place in THREE]
    half_over = square(13, 10)  # 70 of 130 px in common with the first: IoU 0.54
    a_third_over = square(15, 10)  # 50 of 150 px
    assert errors_of(*right)[0] == ["", "", ""]
    assert errors_of(detection("A172", half_over, 0.9))[0] == [""]
    assert errors_of(detection("A172", a_third_over, 0.9)) == (
        ["localisation"],
        ["", "missed", "missed"],
    )
    assert errors_of(detection("BV2", half_over, 0.9)) == (["class"], ["", "missed", "missed"])
    assert errors_of(detection("BV2", a_third_over, 0.9)) == (["both"], ["missed"] * 3)
    assert errors_of(detection("A172", square(80, 80), 0.9)) == (["background"], ["missed"] * 3)
    assert errors_of(*right, detection("A172", half_over, 0.5))[0] == ["", "", "", "duplicate"]
    assert errors_of() == ([], ["missed"] * 3)


def test_of_two_wrong_names_the_higher_score_becomes_right_and_the_other_disappears():
    """A172's only cell is called BV2 at 0.9 and MCF7 at 0.3; an A172 on background has 0.6.
    Corrected classes put the cell before the background: AP50 is 100, not 50."""
    cells = [cell("A172", THREE[0])]
    found = [
        detection("MCF7", THREE[0], 0.3),
        detection("BV2", THREE[0], 0.9),
        detection("A172", square(70, 70), 0.6),
    ]
    assert decompose(matched(cells, found)).loc[("all", "class"), "gain"] == pytest.approx(100)


def test_a_missed_cell_costs_what_its_recall_costs():
    found = [detection("A172", place, 0.9) for place in THREE[:2]]
    table = decompose(matched(THREE_CELLS, found)).loc["all"]
    assert table.loc["missed", "n"] == 1
    assert table.loc["missed", "gain"] == pytest.approx(100 - TWO_OF_THREE)


def test_a_detection_on_a_crowd_region_is_no_error():
    cells = [cell("A172", THREE[0]), cell("A172", square(40, 40, 30), iscrowd=1)]
    found = [detection("A172", THREE[0], 0.9), detection("A172", square(45, 45), 0.8)]
    table = decompose(matched(cells, found)).loc["all"]
    assert table["n"].sum() == 0 and table.loc["class", "AP50"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("scene", "within"),
    [
        (dict(seed=1, n_images=6, per_image=12), 1e-9),
        (dict(seed=5, n_images=6, per_image=25, ties=True), 1e-9),
        (dict(seed=9, n_images=20, per_image=10, cultures=3), 1e-9),
        (dict(seed=2, n_images=1, per_image=300), 0.5),  # where one detection fits several cells
    ],
)
def test_counts_and_gains_are_hotcocos(tmp_path, scene, within):
    paths = write(tmp_path, *blobs(**scene))
    found = match_files(*paths)
    theirs = found.evaluation(areas=["all"]).tide_errors()
    ours = decompose(found).loc["all"]
    assert ours["AP50"].to_list() == pytest.approx([100 * theirs["ap_base"]] * 6)
    assert ours["n"].to_list() == [theirs["counts"][key] for key in HOTCOCO]
    gains = [100 * theirs["delta_ap"][key] for key in HOTCOCO]
    assert ours["gain"].to_list() == pytest.approx(gains, abs=within)


def test_rows_of_the_cultures_add_up(tmp_path):
    paths = write(tmp_path, *blobs(seed=1, n_images=6, per_image=12))
    table = decompose(match_files(*paths))
    by_culture = table.drop(index="all", level="culture")
    assert by_culture["n"].groupby("error").sum().to_dict() == table.loc["all", "n"].to_dict()
    assert by_culture["gain"].groupby("error").mean().to_dict() == pytest.approx(
        table.loc["all", "gain"].to_dict()
    )
