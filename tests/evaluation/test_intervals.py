"""Every number of the metrics gets the interval that the bootstrap of that number alone gives."""

import json

import pytest

from deepmucs_utils.evaluation.intervals import bootstrap, evaluate_with_intervals
from deepmucs_utils.evaluation.matching import match_files
from deepmucs_utils.evaluation.metrics import METRICS, evaluate, write_metrics
from tests.coco_scenes import blobs, cell, dataset, square, write


@pytest.fixture(scope="module")
def matched(tmp_path_factory):
    truth, found = blobs(seed=0, n_images=12, per_image=25)
    for index, image in enumerate(truth["images"]):
        image["block"] = f"wells {index % 4}"
    return match_files(*write(tmp_path_factory.mktemp("scene"), truth, found))


def test_intervals_are_those_of_each_metrics_own_bootstrap(matched):
    metrics = evaluate_with_intervals(matched, replicates=40)
    plain = evaluate(matched)
    for iou_type in ("bbox", "segm"):
        for metric in METRICS:
            alone = bootstrap({"m": matched}, 40, metric=metric, iou_type=iou_type)
            for _, row in alone.models.iterrows():
                ours = metrics[iou_type]
                if row["culture"] != "all":
                    ours = ours["per_class"][row["culture"]]
                wanted = pytest.approx([row["low"], row["high"]], nan_ok=True)
                assert ours[f"{metric} interval"] == wanted
            assert metrics[iou_type][metric] == plain[iou_type][metric]
        low, high = metrics[iou_type]["AR interval"]
        assert low < metrics[iou_type]["AR"] < high
    assert "4 donor blocks" in metrics["intervals"]["note"]


def test_the_file_has_null_for_numbers_and_intervals_that_rest_on_few_cells(tmp_path):
    """31 small cells of A172 in two blocks, one of BV2: only the first are enough."""
    places = [square(x, y) for x in range(0, 90, 15) for y in range(0, 90, 15)][:31]
    cells = [cell("A172", place, image=i % 2) for i, place in enumerate(places)]
    cells += [cell("BV2", square(90, 90), image=i) for i in range(2)]
    paths = write(tmp_path, dataset(cells, 2, blocks=["a", "b"]), [])
    path = write_metrics(evaluate_with_intervals(match_files(*paths), replicates=5), tmp_path)
    segm = json.loads(path.read_text())["segm"]
    assert segm["per_class"]["A172"]["AP interval"] == [0, 0]
    assert segm["per_class"]["A172"]["APs"] == 0 and segm["per_class"]["A172"]["APl"] is None
    assert segm["per_class"]["BV2"]["AP"] is None
    assert segm["per_class"]["BV2"]["AP interval"] == [None, None]
    assert segm["AP"] == 0 and segm["APl interval"] == [None, None] and segm["ns"] == 33
