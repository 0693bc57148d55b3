import numpy as np
import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model
from detectron2.modeling.anchor_generator import build_anchor_generator
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.segmentation import get_config
from deepmucs_utils.segmentation.anatomy import (
    Attention,
    best_anchors,
    cascade_boxes,
    feature_maps,
    follow_cells,
    new_model,
    objectness,
    overlap,
    sampling_places,
    split_attention,
)
from tests.segmentation.plain_networks import randomise_norms
from tests.tiny import tiny_config


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
    assert moved[1, 4].tolist() == [1.5 * 8, 0.0]
    assert np.count_nonzero(moved) == 1


@pytest.mark.parametrize("first, stride", [(False, 4), (True, 8)])
def test_places_count_in_pixels_of_the_map_that_is_sampled(image, first, stride):
    cfg = tiny_config()
    cfg.MODEL.RESNEST.AVD_FIRST = first  # else the first block of a stage pools afterwards
    found = sampling_places(build_model(cfg), cfg, image, "res3", place=(40, 72))
    assert (np.diff(found.grid.reshape(3, 3, 2)[:, 0, 0]) == stride).all()


def test_a_stage_without_deformable_convolution_is_refused(network, image):
    with pytest.raises(DeepMuCSError, match="res2: has no deformable convolution"):
        sampling_places(*network, image, "res2", place=(0, 0))


@pytest.mark.parametrize("stage, layer", [("res2", "layer1"), ("res4", "layer3")])
def test_the_weighted_sum_of_both_splits_is_what_the_block_outputs(network, image, stage, layer):
    model, cfg = network
    found = split_attention(model, cfg, image, stage)
    outputs = []
    part = model.backbone.bottom_up.net[layer][-1].conv2
    hook = part.register_forward_hook(lambda *call: outputs.append(call[-1][0]))
    split_attention(model, cfg, image, stage)
    hook.remove()
    np.testing.assert_allclose(found.mix(), outputs[0].detach().numpy(), atol=1e-5)
    assert (found.share > 0).all() and (found.share < 1).all() and found.share.std() > 0
    assert np.abs(found.splits[0] - found.splits[1]).max() > 0.1


def test_the_clearest_features_are_the_extremes_and_the_least_decided():
    splits = np.ones((2, 5, 1, 1))
    splits[1, 0] = 0  # a feature that split 2 never has
    found = Attention(splits, np.array([0.01, 0.9, 0.2, 0.55, 0.7]))
    assert found.clearest() == [2, 3, 1]


def test_new_models_of_one_seed_are_equal():
    one, same, other = (new_model(tiny_config(), seed).state_dict() for seed in (1, 1, 2))
    name = "backbone.bottom_up.net.layer1.0.conv1.weight"
    assert torch.equal(one[name], same[name]) and not torch.equal(one[name], other[name])


def test_feature_maps_halve_from_level_to_level(network, image):
    maps = feature_maps(*network, image)
    assert [maps[f"p{level}"].shape for level in (2, 3, 4, 5, 6)] == [
        *((24, 32), (12, 16), (6, 8), (3, 4), (2, 2))
    ]
    assert maps["res2"].shape == maps["p2"].shape


def test_an_anchor_is_the_best_of_its_own_box():
    cfg = get_config("paper")
    # anchors stand at the corners of their level's pixels: (32, 32) is one of each level
    boxes = [[28, 28, 36, 36], [0, 0, 64, 64], [60, 61, 66, 73]]
    found = best_anchors(cfg, boxes, (128, 128))
    np.testing.assert_allclose(found["iou"][:2], 1.0)
    assert found["size"].tolist()[:2] == [8, 64]
    assert found["ratio"].tolist() == [1.0, 1.0, 2.0]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), coco=st.booleans(), height=st.integers(60, 130))
def test_the_best_anchor_is_the_best_of_all_that_detectron2_lays_out(seed, coco, height):
    cfg = get_config("paper")
    if coco:
        cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[32], [64], [128], [256], [512]]
        cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS = [[0.5, 1.0, 2.0]]
    shape = (height, 90)
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, [80, height - 10], (8, 2))
    boxes = np.hstack([low, np.minimum(low + rng.uniform(3, 60, (8, 2)), [90, height])])
    strides = (4, 8, 16, 32, 64)
    generator = build_anchor_generator(cfg, [ShapeSpec(stride=stride) for stride in strides])
    maps = [torch.zeros(1, 1, *(-(-side // stride) for side in shape)) for stride in strides]
    every = np.concatenate([level.tensor.numpy() for level in generator(maps)])
    best = overlap(boxes, every).max(1)
    np.testing.assert_allclose(best_anchors(cfg, boxes, shape)["iou"], best, atol=1e-5)


def test_each_box_may_have_an_image_of_its_own_size():
    boxes = np.array([[10, 20, 30, 50], [80, 90, 99, 99]])
    shapes = np.array([[60, 70], [100, 100]])
    found = best_anchors(get_config("paper"), boxes, shapes)
    for k in range(2):
        alone = best_anchors(get_config("paper"), boxes[k : k + 1], shapes[k])
        assert alone["iou"][0] == found["iou"][k]


def test_proposals_stand_where_objectness_is_high(network, image):
    model, cfg = network
    maps = objectness(model, cfg, image)
    assert [maps[name].shape for name in ("p2", "p6")] == [(24, 32), (2, 2)]
    with torch.no_grad():
        pixels = model.preprocess_image(
            [{"image": torch.from_numpy(image).float().expand(3, -1, -1)}]
        )
        (found,) = model.proposal_generator(pixels, model.backbone(pixels.tensor), None)[0]
    best = float(found.objectness_logits.max().sigmoid())
    assert max(values.max() for values in maps.values()) == pytest.approx(best, abs=1e-5)


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
