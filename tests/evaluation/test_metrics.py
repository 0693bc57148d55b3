"""Metrics equal pycocotools', and hand-made cells give the AP that one works out by eye."""

import contextlib
import copy
import io
import json
import math

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.evaluation.matching import match_files
from deepmucs_utils.evaluation.metrics import (
    evaluate,
    per_class_table,
    with_nan,
    write_metrics,
)
from tests.coco_scenes import annotate, blobs, cell, dataset, detection, square, write

AREAS = [[0, 1e10], [0, 324], [324, 961], [961, 1e10]]
SETS = {
    "sparse": dict(seed=1, n_images=6, per_image=12),
    "dense": dict(seed=2, n_images=1, per_image=300),
    "three cultures without cells": dict(seed=4, n_images=5, per_image=12, cultures=5),
    "ties of scores": dict(seed=5, n_images=6, per_image=25, ties=True),
    "crowd": dict(seed=6, n_images=6, per_image=20, crowd=0.3),
}


def reference(ground_truth, detections, iou_type, use_categories=1):
    """pycocotools' precision and recall at the last detection limit; it ignores annotation 0."""
    truth = copy.deepcopy(ground_truth)
    for annotation in truth["annotations"]:
        annotation["id"] += 1
    unused = {"bbox": "segmentation", "segm": "bbox"}[iou_type]
    with contextlib.redirect_stdout(io.StringIO()):
        cells, found = COCO(), COCO()
        cells.dataset = truth
        cells.createIndex()
        if detections:
            records = [{k: v for k, v in record.items() if k != unused} for record in detections]
            found = cells.loadRes(copy.deepcopy(records))
        else:
            found.dataset = truth | {"annotations": []}
            found.createIndex()
        evaluation = COCOeval(cells, found, iou_type)
        evaluation.params.maxDets = [100, 500, 2000]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = AREAS, list("asml")
        evaluation.params.useCats = use_categories
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][..., -1], evaluation.eval["recall"][..., -1]


def expected(precision, recall):
    """The seven numbers, from pycocotools' arrays."""

    def mean(values):
        return 100 * values[values > -1].mean() if (values > -1).any() else math.nan

    return {
        "AP": mean(precision[..., 0]),
        "AP50": mean(precision[0, ..., 0]),
        "AP75": mean(precision[5, ..., 0]),
        "APs": mean(precision[..., 1]),
        "APm": mean(precision[..., 2]),
        "APl": mean(precision[..., 3]),
        "AR": mean(recall[..., 0]),
    }


def assert_equal(ours, theirs):
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-6, nan_ok=True), name


@pytest.mark.slow
@pytest.mark.parametrize("detected", [True, False], ids=["detections", "no detections"])
@pytest.mark.parametrize("name", SETS)
def test_metrics_equal_pycocotools(tmp_path, name, detected):
    truth, detections = blobs(**SETS[name])
    detections = detections if detected else []
    metrics = evaluate(match_files(*write(tmp_path, truth, detections)))
    for iou_type in ("bbox", "segm"):
        precision, recall = reference(truth, detections, iou_type)
        assert_equal(metrics[iou_type], expected(precision, recall))
        for index, culture in enumerate(CULTURE_NAMES):
            ours = metrics[iou_type]["per_class"][culture]
            assert_equal(ours, expected(precision[:, :, [index]], recall[:, [index]]))
        pooled = expected(*reference(truth, detections, iou_type, use_categories=0))
        assert_equal(metrics["pooled"][iou_type], pooled)


@pytest.mark.slow
def test_metrics_equal_pycocotools_with_1000_cells_and_2000_detections_an_image(tmp_path):
    truth, detections = blobs(seed=3, n_images=1, per_image=1000)
    metrics = evaluate(match_files(*write(tmp_path, truth, detections)))
    assert_equal(metrics["segm"], expected(*reference(truth, detections, "segm")))


def test_three_cells_found_exactly_are_100_percent(tmp_path):
    places = square(10, 10), square(40, 40, 20), square(70, 10, 40)
    truth = dataset([cell("A172", place) for place in places])
    found = [detection("A172", place, 0.9) for place in places]
    metrics = evaluate(match_files(*write(tmp_path, truth, found)))
    for name in ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR"):
        assert metrics["segm"][name] == metrics["bbox"][name] == pytest.approx(100)
    counts = metrics["segm"]["per_class"]["A172"]
    assert [counts[key] for key in ("n", "ns", "nm", "nl")] == [3, 1, 1, 1]
    assert metrics["n_images"] == 1 and metrics["n_cells"] == 3


def test_three_cells_one_of_them_given_the_wrong_class(tmp_path):
    """A172: one of two found, so precision is 1 at the recalls 0.00 to 0.50, that is 51 of 101.
    MCF7: its cell is found, but after the false one, so precision is 1/2 everywhere."""
    places = square(10, 10), square(40, 40), square(70, 10)
    truth = dataset([cell(c, p) for c, p in zip(("A172", "A172", "MCF7"), places, strict=True)])
    found = [
        detection("A172", places[0], 0.9),
        detection("MCF7", places[1], 0.8),
        detection("MCF7", places[2], 0.7),
    ]
    metrics = evaluate(match_files(*write(tmp_path, truth, found)))
    by_class = metrics["segm"]["per_class"]
    assert by_class["A172"]["AP50"] == pytest.approx(100 * 51 / 101)
    assert by_class["MCF7"]["AP50"] == pytest.approx(50)
    assert metrics["segm"]["AP50"] == pytest.approx((100 * 51 / 101 + 50) / 2)
    assert math.isnan(by_class["BV2"]["AP50"]) and by_class["BV2"]["n"] == 0
    assert metrics["pooled"]["segm"]["AP50"] == pytest.approx(100)


def test_masks_and_boxes_are_evaluated_separately(tmp_path):
    """A triangle fills half of its square: the box is right, the mask overlaps by one half."""
    mask = np.tri(10, dtype=bool)
    image = np.zeros((100, 100), bool)
    image[10:20, 10:20] = mask
    truth = dataset([cell("BV2", square(10, 10))])
    metrics = evaluate(
        match_files(*write(tmp_path, truth, [detection("BV2", annotate(image), 0.9)]))
    )
    assert metrics["bbox"]["AP"] == pytest.approx(100)
    assert metrics["segm"]["AP50"] == pytest.approx(100)  # IoU 0.55
    assert metrics["segm"]["AP75"] == pytest.approx(0)


def test_polygons_and_other_categories_are_accepted_as_in_genuine_livecell(tmp_path):
    """A square as a polygon, in LIVECell's own single category."""
    polygon = {"segmentation": [[10, 10, 20, 10, 20, 20, 10, 20]]}
    truth = dataset([cell("A172", square(10, 10)) | polygon])
    truth["categories"] = [{"id": 1, "name": "cell"}]
    found = [detection("A172", square(10, 10), 0.9)]
    metrics = evaluate(match_files(*write(tmp_path, truth, found)))
    assert metrics["segm"]["per_class"]["cell"]["AP"] == pytest.approx(100)
    assert metrics["segm"]["AP"] == metrics["pooled"]["segm"]["AP"]


def test_written_metrics_are_read_back_and_hold_null_for_nan(tmp_path):
    metrics = evaluate(match_files(*write(tmp_path, dataset([cell("BV2", square(1, 1))]), [])))
    path = write_metrics(metrics, tmp_path / "out")
    assert json.loads(path.read_text())["segm"]["APl"] is None
    assert [file.name for file in path.parent.iterdir()] == ["metrics.json"]
    again = with_nan(json.loads(path.read_text()))
    assert again["segm"]["AP"] == 0 and math.isnan(again["segm"]["APl"])
    assert again.keys() == metrics.keys()


def test_per_class_table_leaves_out_what_rests_on_few_cells(tmp_path):
    places = [square(x, y) for x in range(0, 90, 15) for y in range(0, 90, 15)][:31]
    cells = [cell("A172", place) for place in places] + [cell("BV2", square(90, 90))]
    found = [detection("A172", place, 0.9) for place in places]
    table = per_class_table(evaluate(match_files(*write(tmp_path, dataset(cells), found))))
    assert table.loc["A172", "AP"] == pytest.approx(100)
    assert table.loc["A172", "APs"] == pytest.approx(100) and math.isnan(table.loc["A172", "APl"])
    assert table.loc["BV-2", "n"] == 1 and math.isnan(table.loc["BV-2", "AP"])
