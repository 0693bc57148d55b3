"""Discs stand for cells within about a pixel, and re-placed cells are the same cells elsewhere."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmucs_utils.analysis.shapes import (
    Field,
    Shape,
    boundary_distances,
    place_at_random,
    read_fields,
)
from deepmucs_utils.errors import DeepMuCSError
from tests.coco_scenes import cell, detection, loaded, square


def ellipse(long, short, angle=0.0):
    side = 2 * long + 5
    mask = np.zeros((side, side), np.uint8)
    cv2.ellipse(mask, (side // 2, side // 2), (long, short), angle, 0, 360, 1, -1)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] > 0


def field(shapes, corners, size=(100, 120)):
    names = np.array([f"c{i % 2}" for i in range(len(shapes))], object)
    return Field(size, tuple(shapes), np.array(corners), names)


def drawn(discs, shape):
    rows, columns = np.indices(shape)
    inside = np.zeros(shape, bool)
    for y, x, radius in discs:
        inside |= np.hypot(rows - y, columns - x) <= radius
    return inside


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 25), st.floats(0.3, 1), st.floats(0, 180))
def test_discs_lie_inside_the_mask_and_cover_most_of_it_in_every_symmetry(long, aspect, angle):
    shape = Shape(ellipse(long, max(2, int(aspect * long)), angle))
    assert len(shape.turned) == 8
    for mask, discs in shape.turned:
        covered = drawn(discs, mask.shape)
        assert not (covered & ~mask).any()
        assert covered.sum() >= 0.75 * mask.sum()


def test_symmetries_are_the_eight_of_the_square():
    mask = np.array([[1, 1, 1], [1, 0, 0]], bool)
    seen = {(m.shape, m.tobytes()) for m, _ in Shape(mask).turned}
    assert len(seen) == 8


def test_squares_that_touch_have_distance_0_and_those_7_px_apart_have_7():
    discs = Shape(np.ones((9, 9), bool)).discs
    assert discs[0].tolist() == [4, 4, 4.5]
    found = read_fields(
        *loaded(
            [
                cell("A172", square(10, 10)),
                cell("BV2", square(20, 10)),
                cell("BV2", square(37, 10)),
            ],
            [],
        )[:1]
    )[0]
    distance = boundary_distances(found.discs(), found.first_disc)
    assert distance[0, 1] == pytest.approx(0, abs=0.5)
    assert distance[1, 2] == pytest.approx(7, abs=0.5)
    assert distance[0, 2] == pytest.approx(17, abs=0.5)
    assert np.isinf(np.diag(distance)).all()


def test_distances_of_discs_are_those_of_outlines_and_a_pixel_or_two_more():
    rng = np.random.default_rng(0)
    errors = []
    while len(errors) < 60:
        axes = [[long, max(3, int(long * rng.uniform(0.4, 1)))] for long in rng.integers(5, 20, 2)]
        shapes = [Shape(ellipse(*axis, rng.uniform(0, 180))) for axis in axes]
        corners = np.array([[5, 5], [5 + rng.integers(40), 40 + rng.integers(30)]])
        both = field(shapes, corners)
        masks = np.zeros((2, 100, 120), np.uint8)
        for mask, shape, (top, left) in zip(masks, shapes, corners, strict=True):
            mask[top : top + shape.mask.shape[0], left : left + shape.mask.shape[1]] = shape.mask
        if (masks[0] & masks[1]).any():
            continue
        depth = cv2.distanceTransform(1 - masks[0], cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        exact = depth[masks[1] > 0].min() - 1
        errors.append(boundary_distances(both.discs(), both.first_disc)[0, 1] - exact)
    assert -0.5 <= np.min(errors) and np.max(errors) <= 4
    assert 0 <= np.mean(errors) <= 1.5


def test_fields_come_from_cells_or_from_detections_whose_overlap_goes_to_the_higher_score():
    cells = [cell("A172", square(10, 10)), cell("BV2", square(50, 50), image=1)]
    cells += [cell("BV2", square(70, 70), image=1, iscrowd=1)]
    found = [detection("A172", square(10, 10), 0.5), detection("BV2", square(15, 10), 0.9)]
    truth, found = loaded(cells, found, n_images=3)
    fields = read_fields(truth)
    assert [s.cultures.tolist() for s in fields] == [["A172"], ["BV2"], []]
    assert fields[1].corners.tolist() == [[50, 50]]
    predicted = read_fields(truth, found)[0]
    assert predicted.cultures.tolist() == ["BV2", "A172"]
    assert [shape.mask.shape for shape in predicted.shapes] == [(10, 10), (10, 5)]


def test_polygons_are_read_as_well():
    truth, _ = loaded([cell("A172", square(10, 10))], [])
    truth["annotations"][0]["segmentation"] = [[10, 10, 20, 10, 20, 20, 10, 20]]
    assert read_fields(truth)[0].shapes[0].mask.sum() == pytest.approx(100, abs=1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_re_placed_cells_keep_their_size_do_not_overlap_and_stay_inside(seed):
    rng = np.random.default_rng(seed)
    shapes = [
        Shape(ellipse(*rng.integers(3, 9, 2).tolist(), rng.uniform(0, 180))) for _ in range(12)
    ]
    corners = np.full((12, 2), 50)
    corners[0] = 0  # touches the border
    before = field(shapes, corners)
    assert before.at_border.tolist() == [True] + [False] * 11
    discs = place_at_random(before, rng)
    assert sorted(discs[:, 2]) == pytest.approx(sorted(before.discs()[:, 2]))
    first = len(shapes[0].discs)
    assert (discs[:first] == before.discs()[:first]).all()
    y, x, radius = discs[first:].T
    assert (y - radius >= 0.4).all() and (y + radius <= 98.6).all()
    assert (x - radius >= 0.4).all() and (x + radius <= 118.6).all()
    gaps = np.hypot(discs[:, 0, None] - discs[:, 0], discs[:, 1, None] - discs[:, 1])
    gaps -= discs[:, 2] + discs[:, 2:]
    cells = np.repeat(np.arange(12), [len(shape.discs) for shape in shapes])
    assert gaps[cells[:, None] != cells].min() > -0.5  # masks are disjoint, discs lie inside them


def test_hidden_lets_cells_overlap_by_that_share_and_no_more():
    shapes = [Shape(np.ones((10, 10), bool))] * 2
    tight = field(shapes, [[1, 1], [1, 14]], size=(12, 26))  # nearly no place for both
    rng = np.random.default_rng(0)
    overlaps = []
    for _ in range(40):
        places = place_at_random(tight, rng, hidden=0.3)
        tops = places[[0, len(shapes[0].discs)], :2]
        overlaps.append(max(0, 10 - abs(tops[0, 1] - tops[1, 1])))
    assert 0 < max(overlaps) <= 4  # an even square's disc lies half a pixel off its middle


def test_an_image_without_room_is_refused():
    shapes = [Shape(np.ones((10, 10), bool))] * 3
    full = field(shapes, [[1, 1], [1, 5], [1, 9]], size=(12, 24))
    with pytest.raises(DeepMuCSError, match="too dense for re-placement"):
        place_at_random(full, np.random.default_rng(0))
