import numpy as np
import pytest

from deepmucs_utils.data.masks import paint
from deepmucs_utils.generation.cells import cut, free_boundary
from deepmucs_utils.generation.groups import MOST_CELLS, contacts, find_groups, free_share


def square(x0, y0, side=20):
    return [np.array([x0, y0, x0 + side, y0, x0 + side, y0 + side, x0, y0 + side], float)]


def groups_of(polygons, faulty=()):
    scene = paint(polygons, 300, 300)
    sound = ~np.isin(np.arange(len(polygons)), faulty)
    return scene, find_groups(scene, sound)


def test_contacts_are_counted_by_boundary_pixels():
    scene = paint([square(50, 50), square(72, 50), square(200, 200)], 300, 300)
    lengths, touching = contacts(scene)
    assert lengths.tolist() == [76, 76, 76]  # 4 × 20 − 4
    assert touching[0] == {1: pytest.approx(20, abs=2)}
    assert touching[2] == {}


def test_touching_cells_are_a_group_and_a_cell_apart_is_none():
    _, groups = groups_of([square(50, 50), square(72, 50), square(72, 72), square(200, 200)])
    assert groups == [[0, 1, 2]]


def test_a_faulty_cell_is_in_no_group_but_still_counts_as_a_neighbour():
    scene, groups = groups_of([square(50, 50), square(72, 50), square(94, 50)], faulty=[2])
    assert groups == [[0, 1]]
    assert 0.75 <= cut(np.full((300, 300), 128, np.uint8), scene, [0, 1]).free < 1


def test_out_of_a_sheet_only_what_is_free_enough_is_taken():
    sheet = [square(20 + 22 * x, 20 + 22 * y) for y in range(8) for x in range(8)]
    _, groups = groups_of([*sheet, square(20 + 22 * 8, 20)])  # one cell sticks out of a corner
    assert all(2 <= len(group) <= MOST_CELLS for group in groups)
    members = [row for group in groups for row in group]
    assert len(members) == len(set(members)) < 20


def test_the_free_share_from_contacts_is_that_of_the_outline():
    polygons = [square(50, 50), square(72, 50), square(50, 72), square(94, 50)]
    scene = paint(polygons, 300, 300)
    lengths, touching = contacts(scene)
    mask = np.isin(scene.owner, [0, 1, 2])
    expected = free_boundary(mask, scene.owner == 3)
    assert free_share([0, 1, 2], lengths, touching) == pytest.approx(expected, abs=0.06)


def test_each_cell_of_a_group_keeps_its_own_mask():
    scene = paint([square(50, 50), square(72, 50)], 300, 300)
    cutout = cut(np.full((300, 300), 128, np.uint8), scene, [0, 1])
    assert np.bincount(cutout.labels.ravel())[1:].tolist() == [400, 400]
    assert (cutout.top, cutout.left, cutout.free) == (44, 44, 1)
    gap = cutout.matte[scene.owner[44:77, 44:99] < 0]
    assert (cutout.matte[10:20, 26:28] == 1).all() and len(gap)  # what lies between them goes along
