"""Table I: the paper's own, ours in its layout, and ours with intervals."""

from deepmucs_utils.evaluation.matching import match_files
from deepmucs_utils.evaluation.metrics import METRICS, evaluate
from deepmucs_utils.evaluation.table_one import (
    IMAGES,
    published_table_one,
    table_one,
    table_one_intervals,
)
from tests.coco_scenes import blobs, write


def test_the_papers_table_one_is_quoted_in_its_layout():
    table = published_table_one()
    assert list(table.index) == list(IMAGES)
    assert table.shape == (3, 12)
    assert table.loc["DeepMuCS800", ("mAP", "Det.")] == 70.17  # the first number of the paper's
    assert table.loc["DeepMuCS4000", ("mAPl", "Seg.")] == 84.67  # table, and the last


def test_table_one_has_the_papers_columns(tmp_path):
    metrics = evaluate(match_files(*write(tmp_path, *blobs(seed=1, n_images=6, per_image=12))))
    table = table_one({"Demo40": metrics, "Demo80": metrics})
    assert list(table.index) == ["Demo40", "Demo80"]
    assert list(table.columns) == list(published_table_one().columns)
    assert list(table.columns.get_level_values(0)[::2]) == ["m" + key for key in METRICS]
    assert table.loc["Demo80", ("mAP50", "Seg.")] == metrics["segm"]["AP50"]
    assert table.loc["Demo80", ("mAPs", "Det.")] == metrics["bbox"]["APs"]


def test_table_one_with_intervals_says_both_or_nothing():
    values = dict.fromkeys(METRICS, 50.0) | {"AR": 60.0, "n": 90, "ns": 60, "nm": 30, "nl": 19}
    values |= {f"{key} interval": [40.04, 60.06] for key in METRICS}
    table = table_one_intervals({"Demo40": {"bbox": values, "segm": values | {"AP": 51.26}}})
    assert table.loc[("Demo40", "Seg."), "mAP"] == "51.3 [40.0, 60.1]"
    assert table.loc[("Demo40", "Det."), "mAPm"] == "50.0 [40.0, 60.1]"
    assert (table["mAPl"] == "").all() and list(table.columns)[1:3] == ["mAP50", "mAP75"]
