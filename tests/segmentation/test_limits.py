"""What a prediction may hold at most, which grows with the image, and the memory that it takes."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances

from deepmucs_utils.segmentation.config import get_config
from deepmucs_utils.segmentation.predict import predict, predict_files, predict_image

WINDOW = (256, 352)  # px, the demo's images
CELLS = 400
SIDE = 10  # px, of a planted cell; they lie 12 px apart


@pytest.fixture(scope="module")
def cfg():
    cfg = get_config("small")
    cfg.MODEL.DEVICE = "cpu"
    return cfg


@pytest.fixture
def network(cfg):
    torch.manual_seed(0)
    return build_model(cfg).eval()


@pytest.mark.parametrize(
    ("size", "proposals", "detections"),
    [
        ((64, 64), 200, 100),
        ((120, 125), 200, 100),
        ((300, 100), 400, 200),
        (WINDOW, 1201, 601),
        ((520, 704), 4881, 2441),
        ((3000, 4000), 6000, 3000),
    ],
)
def test_limits_grow_with_the_images_area_from_a_least_to_a_most(
    network, size, proposals, detections
):
    rpn, heads = network.proposal_generator, network.roi_heads
    assert rpn.limit(rpn.post_nms_topk[False], size) == proposals
    assert heads.limit(heads.detections, size) == detections


def plant(network, monkeypatch, cells=CELLS):
    """Let the network propose so many cells side by side, and be certain of each."""
    tops, lefts = (range(0, side - SIDE, SIDE + 2) for side in WINDOW)
    corners = torch.tensor([(left, top) for top in tops for left in lefts][:cells]).float()
    assert len(corners) == cells
    heads = network.roi_heads

    def propose(images, features, instances=None):
        proposals = Instances(images.image_sizes[0])
        proposals.proposal_boxes = Boxes(torch.hstack([corners, corners + SIDE]))
        return [proposals], {}

    def stage(features, proposals, number):
        scores = torch.zeros(cells, heads.num_classes + 1)
        scores[:, 0] = 10 + torch.linspace(0, 1, cells)
        return scores, torch.zeros(cells, 4)

    monkeypatch.setattr(network.proposal_generator, "forward", propose)
    monkeypatch.setattr(heads, "_run_stage", stage)


def test_400_cells_in_a_window_are_all_found(network, cfg, monkeypatch):
    plant(network, monkeypatch)
    found = predict_image(network, cfg, np.full(WINDOW, 128, np.uint8))
    assert len(found) == CELLS and network.roi_heads.cut == [False]
    assert found.pred_masks.shape == (CELLS, *WINDOW)


def test_the_best_are_kept_where_the_limit_is_reached(network, cfg, monkeypatch):
    plant(network, monkeypatch)
    network.roi_heads.detections = 20
    found = predict_image(network, cfg, np.full(WINDOW, 128, np.uint8))
    assert len(found) == 120 and network.roi_heads.cut == [True]
    assert found.pred_boxes.tensor[0, 1] > found.pred_boxes.tensor[-1, 1]  # the last rows are best


def test_more_than_a_thousand_proposals_of_a_window_reach_the_heads(network):
    """Anchors of 8 px, every second place: none overlaps another; images differ in size."""
    rpn = network.proposal_generator
    sizes, features = [WINDOW, (96, 96)], {}
    for name, stride in zip(rpn.in_features, rpn.anchor_generator.strides, strict=True):
        features[name] = torch.zeros(2, 1, WINDOW[0] // stride, WINDOW[1] // stride)
    anchors = rpn.anchor_generator(list(features.values()))
    logits = [torch.full((2, len(level)), -10.0) for level in anchors]
    rows, columns = features["p2"].shape[2:]
    fine = logits[0].view(2, rows, columns, 5)
    fine[:, ::2, ::2, 1] = 10
    deltas = [torch.zeros(2, len(level), 4) for level in anchors]
    large, small = rpn.predict_proposals(anchors, logits, deltas, sizes)
    assert len(large) == 1201 and (large.objectness_logits > 0).all()
    assert 0 < len(small) <= 200


def test_a_prediction_that_reaches_its_limit_says_so(tmp_path, cfg, network, monkeypatch, caplog):
    caplog.set_level("INFO", "deepmucs_utils.segmentation.predict")
    plant(network, monkeypatch)
    network.roi_heads.detections = 20
    monkeypatch.setattr(
        "deepmucs_utils.segmentation.predict.load_model", lambda run: (cfg, network)
    )
    for name in ("one.png", "two.png"):
        cv2.imwrite(str(tmp_path / name), np.full(WINDOW, 128, np.uint8))
    path = predict("a run", [tmp_path / "one.png", tmp_path / "two.png"], tmp_path / "out")
    (record,) = caplog.records
    assert record.levelname == "INFO"
    for part in (str(path), "2 of 2 images", "one.png with 120", "TEST.DETECTIONS_PER_IMAGE"):
        assert part in record.message
    assert len(json.loads(path.read_text())) <= 240
    caplog.clear()
    network.roi_heads.detections = 100
    predict("a run", tmp_path / "one.png", tmp_path / "again")
    assert not caplog.records


@pytest.mark.skipif(sys.platform != "linux", reason="memory can be limited on Linux alone")
def test_memory_does_not_grow_with_detections_times_pixels(tmp_path, cfg, network, monkeypatch):
    """3,000 masks of 2048² px would be 12.6 GB; a gigabyte is left to the process."""
    resource = pytest.importorskip("resource")
    found = Instances((2048, 2048))
    start = 2000 * torch.rand(3000, 2)
    found.pred_boxes = Boxes(torch.hstack([start, start + 12 + 36 * torch.rand(3000, 2)]))
    found.scores, found.pred_classes = torch.ones(3000), torch.zeros(3000, dtype=torch.long)
    found.pred_masks = torch.rand(3000, 1, 28, 28)
    monkeypatch.setattr(network.backbone, "forward", lambda images: {})
    monkeypatch.setattr(network.proposal_generator, "forward", lambda *args: (None, {}))
    monkeypatch.setattr(network.roi_heads, "forward", lambda *args: ([found], {}))
    cv2.imwrite(str(tmp_path / "image.png"), np.full((2048, 2048), 128, np.uint8))
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + 2**30, before[1]))
    try:
        predict_files(network, cfg, {1: tmp_path / "image.png"}, tmp_path / "predictions.json")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert len(json.loads((tmp_path / "predictions.json").read_text())) == 3000
