import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from plain_networks import randomise_norms
from tiny import tiny_config

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.segmentation import get_config
from deepmucs_utils.segmentation.anatomy import (
    anchor_match,
    cascade_boxes,
    feature_maps,
    follow_cells,
    sampling_places,
    split_shares,
)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    cfg = tiny_config()
    return randomise_norms(build_model(cfg)).eval(), cfg


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).normal(128, 12, (96, 128)).clip(0, 255).astype(np.uint8)


def test_at_the_start_the_taps_lie_on_the_grid_at_half_weight(network, image):
    found = sampling_places(*network, image, "res4", place=(40, 72))
    assert found.centre == (40.0, 72.0)  # the pixel of row 2 and column 4 at stride 16
    assert found.grid.tolist()[:2] == [[24.0, 56.0], [24.0, 72.0]]
    assert (found.places == found.grid).all() and found.places.shape == (2, 9, 2)
    assert (found.modulation == 0.5).all()


def test_a_displacement_moves_its_tap_by_as_many_pixels_of_the_map(network, image):
    model, cfg = network
    bias = model.backbone.bottom_up.net["layer2"][-1].conv2.conv.offset.bias
    with torch.no_grad():
        bias[18 + 2 * 4] = 1.5  # second group, middle tap, y
        found = sampling_places(model, cfg, image, "res3", place=(40, 72))
        bias.zero_()
    moved = found.places - found.grid
    assert moved[1, 4].tolist() == [12.0, 0.0]
    assert np.count_nonzero(moved) == 1


def test_a_stage_without_deformable_convolution_is_refused(network, image):
    with pytest.raises(DeepMuCSError, match="res2: has no deformable convolution"):
        sampling_places(*network, image, "res2", place=(0, 0))


def test_the_shares_of_the_splits_lie_between_nothing_and_all(network, image):
    shares = split_shares(*network, image)
    assert [len(shares[name]) for name in ("res2", "res3", "res4", "res5")] == list(
        network[1].MODEL.RESNEST.CHANNELS
    )
    for values in shares.values():
        assert (values > 0).all() and (values < 1).all() and values.std() > 0


def test_feature_maps_halve_from_level_to_level(network, image):
    maps = feature_maps(*network, image)
    assert [maps[f"p{level}"].shape for level in (2, 3, 4, 5, 6)] == [
        *((24, 32), (12, 16), (6, 8), (3, 4), (2, 2))
    ]
    assert maps["res2"].shape == maps["p2"].shape


def test_an_anchor_is_matched_to_its_own_box_and_small_cells_to_small_anchors():
    cfg = get_config("paper")
    # anchors stand at the corners of their level's pixels: (32, 32) is one of each level
    boxes = [[28, 28, 36, 36], [0, 0, 64, 64], [60, 61, 66, 73]]
    found = anchor_match(cfg, boxes, (128, 128))
    np.testing.assert_allclose(found["iou"][:2], 1.0)
    assert found["size"].tolist()[:2] == [8, 64]
    assert found["ratio"].tolist() == [1.0, 1.0, 2.0]
    assert (found["positive"] > 0).tolist() == [True, True, False]
    coco = get_config("paper")
    coco.MODEL.ANCHOR_GENERATOR.SIZES = [[32], [64], [128], [256], [512]]
    coco.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS = [[0.5, 1.0, 2.0]]
    missed = anchor_match(coco, boxes, (128, 128))
    assert missed["positive"][0] == 0 and missed["iou"][0] < 0.1


def test_the_last_boxes_and_mean_scores_of_the_cascade_are_the_detections(network, image):
    model, cfg = network
    boxes, scores = cascade_boxes(model, cfg, image)
    assert len(boxes) == 4 and len(scores) == 3
    with torch.no_grad():
        pixels = torch.from_numpy(image).float().expand(3, -1, -1)
        (found,) = model.inference([{"image": pixels}], do_postprocess=False)
    inside = boxes[-1].copy()
    inside[:, [0, 2]] = inside[:, [0, 2]].clip(0, 128)
    inside[:, [1, 3]] = inside[:, [1, 3]].clip(0, 96)
    mean = scores.mean(0)
    for box, score, number in zip(
        found.pred_boxes.tensor.numpy(), found.scores, found.pred_classes, strict=True
    ):
        row = np.abs(inside - box).sum(1).argmin()
        np.testing.assert_allclose(inside[row], box, atol=1e-3)
        assert mean[row, int(number)] == pytest.approx(float(score), abs=1e-5)


def test_proposals_on_a_cell_are_followed_and_others_left_out():
    truth = [[0, 0, 10, 10], [50, 50, 60, 60]]
    proposals = [[0, 0, 10, 5], [50, 50, 60, 60], [20, 20, 30, 30]]
    refined = [[0, 0, 10, 10], [50, 50, 60, 55], [20, 20, 30, 30]]
    rows, cells, overlap = follow_cells(np.array([proposals, refined], np.float32), truth)
    assert rows.tolist() == [0, 1] and cells.tolist() == [0, 1]
    assert overlap.tolist() == [[0.5, 1.0], [1.0, 0.5]]
