import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from deepmucs_utils.data.masks import (
    decode,
    decode_masks,
    encode,
    encode_windows,
    paint,
    rasterise,
)


def square(x0, y0, side):
    return [np.array([x0, y0, x0 + side, y0, x0 + side, y0 + side, x0, y0 + side], float)]


def test_a_polygon_in_its_box_is_the_polygon_in_the_image():
    """Of random outlines: a point midway between two fifths of a pixel may round either way."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(4, 12)))
        around = rng.uniform(3, 40, len(angle))[:, None] * np.stack(
            [np.cos(angle), np.sin(angle)], 1
        )
        outline = (rng.uniform(40, 60, 2) + around).ravel().tolist()
        whole = coco_mask.decode(coco_mask.frPyObjects([outline], 100, 100))[..., 0] > 0
        y0, x0 = int(min(outline[1::2])), int(min(outline[0::2]))
        assert np.array_equal(rasterise([np.array(outline)], (y0, x0, 100, 100)), whole[y0:, x0:])


@given(st.lists(st.floats(-20, 120), min_size=6, max_size=12))
@settings(max_examples=100, deadline=None)
def test_polygons_are_filled_as_pycocotools_fills_them(corners):
    polygon = corners[: len(corners) // 2 * 2]
    whole = coco_mask.decode(coco_mask.frPyObjects([polygon], 100, 90))[..., 0] > 0
    assert np.array_equal(decode([corners], (100, 90)), whole)


def test_later_masks_lie_above_and_overlaps_are_counted():
    scene = paint([square(10, 10, 20), square(25, 10, 20)], 60, 60)
    assert scene.owner[20, 20] == 0 and scene.owner[20, 28] == 1 and scene.owner[50, 50] == -1
    assert scene.count[20, 28] == 2 and scene.count[20, 40] == 1
    assert not scene.double.any()


def test_a_second_contour_of_the_same_cell_is_double_and_not_painted():
    scene = paint([square(10, 10, 20), square(11, 11, 20), square(40, 10, 5)], 60, 60)
    assert scene.double.tolist() == [False, True, False]
    assert set(np.unique(scene.owner)) == {-1, 0, 2}


def test_a_polygon_outside_the_image_has_an_empty_mask():
    scene = paint([square(100, 100, 20)], 60, 60)
    assert scene.masks[0][1].sum() == 0


def test_an_empty_segmentation_has_an_empty_mask():
    scene = paint([[], [[]], [[1, 2, 3, 4]], square(10, 10, 5)], 60, 60)
    assert [mask.sum() for _, mask in scene.masks] == [0, 0, 0, 25]


@given(st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_run_lengths_are_painted_as_their_pixels(seed):
    rng = np.random.default_rng(seed)
    masks = np.zeros((3, 20, 30), bool)
    masks[0, 3:9, 4:12], masks[1, 5:20, 20:30], masks[2] = True, True, rng.random((20, 30)) < 0.1
    codes = [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    scene = paint(codes, 20, 30)
    assert np.array_equal(scene.count, masks.sum(0))
    for (y0, x0, y1, x1), mask in scene.masks:
        assert mask.any(0)[[0, -1]].all() and mask.any(1)[[0, -1]].all()
        assert mask.shape == (y1 - y0, x1 - x0)


def test_training_and_evaluation_see_the_same_pixels_of_a_polygon():
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    polygon = (np.stack([15.3 + 6 * np.cos(angle), 14.8 + 6 * np.sin(angle)], 1)).ravel().tolist()
    coco = coco_mask.decode(coco_mask.frPyObjects([polygon], 30, 31))[..., 0] > 0
    assert np.array_equal(decode([polygon], (30, 31)), coco)
    assert np.array_equal(rasterise([polygon], (0, 0, 30, 31)), coco)
    assert abs(coco.sum() / (np.pi * 36) - 1) < 0.03  # filled with OpenCV it has 14 % more


def test_run_lengths_and_polygons_may_stand_side_by_side():
    counts = {"size": [4, 4], "counts": [5, 2, 9]}
    masks = decode_masks([counts, [[0, 0, 2, 0, 2, 2, 0, 2]], []], (4, 4))
    assert masks.shape == (3, 4, 4) and masks.sum((1, 2)).tolist() == [2, 4, 0]


def test_a_mask_in_a_window_is_encoded_as_the_whole_mask():
    part, window = np.array([[1, 0, 1], [0, 1, 1]], bool), np.s_[3:5, 7:10]
    whole = np.zeros((5, 12), np.uint8, order="F")
    whole[window] = part
    code = encode(window, part, (5, 12))
    assert code == coco_mask.encode(whole)
    assert np.array_equal(decode(code, (5, 12)), whole)


@st.composite
def windows_of_an_image(draw):
    """Windows of one size with masks inside the image, at its borders, empty and full ones."""
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    sides = draw(st.tuples(st.integers(1, 14), st.integers(1, 14)))
    number, seed = draw(st.integers(0, 6)), draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, shape, (number, 2))
    masks = rng.random((number, *sides)) < rng.choice([0, 0.3, 0.9, 1], (number, 1, 1))
    wholes = np.zeros((number, *shape), np.uint8)
    for (top, left), mask, whole in zip(corners, masks, wholes, strict=True):
        mask[shape[0] - top :] = mask[:, shape[1] - left :] = False
        part = whole[top : top + sides[0], left : left + sides[1]]
        part[:] = mask[: part.shape[0], : part.shape[1]]
    return corners, masks, shape, wholes


@given(windows_of_an_image())
@settings(max_examples=300, deadline=None)
def test_masks_in_windows_are_encoded_as_pycocotools_encodes_the_whole_masks(case):
    corners, masks, shape, wholes = case
    codes = encode_windows(corners, masks, shape)
    assert codes == [coco_mask.encode(np.asfortranarray(whole)) for whole in wholes]
