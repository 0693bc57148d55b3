"""Figures of the notebooks on the network show the values that they are given."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from deepmucs_utils import plots
from deepmucs_utils.segmentation.anatomy import Attention, Sampling

matplotlib.use("Agg")

IMAGE = np.full((32, 48), 128, np.uint8)
MASKS = np.zeros((1, 32, 48), bool)
MASKS[0, 10:20, 8:16] = True


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close("all")


def test_maps_of_each_kind_share_a_line_and_the_coordinates_of_the_image(ax):
    levels = {"res2": np.eye(8, 12), "p2": np.eye(8, 12), "p6": np.eye(1)}
    plots.network.maps(levels, MASKS)
    drawn = [a for a in plt.gcf().axes if a.images]
    assert [a.get_title() for a in drawn] == ["res2, 8 × 12", "p2, 8 × 12", "p6, 1 × 1"]
    assert [a.get_subplotspec().rowspan.start for a in drawn] == [0, 1, 1]
    assert drawn[0].images[0].get_extent() == [0, 48, 32, 0]
    assert drawn[2].images[0].get_extent() == [0, 64, 64, 0]
    assert drawn[2].get_xlim() == (0, 48)


def test_both_weights_of_a_feature_are_in_the_titles(ax):
    found = Attention(np.ones((2, 3, 4, 6)), np.array([0.1, 0.5, 0.75]))
    plots.network.attention(MASKS, found)
    titles = [a.get_title() for a in plt.gcf().axes]
    assert titles[0] == "split 1, weight 0.10" and titles[1] == "split 2, weight 0.90"
    assert titles[6] == "split 1, weight 0.75" and titles[8] == "sum"


def test_a_place_with_a_larger_weight_has_a_larger_mark(ax):
    grid = np.stack(np.mgrid[8:25:8, 8:25:8], -1).reshape(9, 2).astype(float)
    weights = np.linspace(0.1, 0.9, 18).reshape(2, 9)
    found = Sampling((16.0, 16.0), grid, np.stack([grid + 1, grid + 2]), weights)
    plots.network.sampling(ax, IMAGE, found, reach=20)
    marks = [c for c in ax.collections if c.get_label().startswith("channel group")]
    assert [(np.diff(m.get_sizes()) > 0).all() for m in marks] == [True, True]
    assert marks[1].get_offsets()[0].tolist() == [10.0, 10.0]
    assert ax.get_xlim() == (-4, 36) and ax.get_ylim() == (36, -4)


def test_anchors_of_a_level_have_its_size_and_their_ratio(ax):
    plots.network.anchors_at(IMAGE, MASKS[0], (8, 16), (0.5, 2.0), (4, 8))
    first = plt.gcf().axes[0].patches
    assert [
        (round(p.get_width() * p.get_height()), p.get_height() / p.get_width()) for p in first
    ] == [(64, pytest.approx(0.5)), (64, pytest.approx(2.0))]
    assert first[0].get_x() + first[0].get_width() / 2 == 12  # the cell's centre is 11.5
    assert plt.gcf().axes[1].get_title() == "p3: 16 px, every 8 px"


def test_recall_counts_the_cells_that_the_first_boxes_meet(ax):
    overlap = [np.array([[0.6, 0.0], [0.0, 0.55]]), np.array([[0.1], [0.9]])]
    plots.network.recall(ax, overlap, (1, 2), (0.5, 0.7))
    (half, strict) = (line.get_ydata().round().tolist() for line in ax.get_lines())
    assert half == [33, 100] and strict == [0, 33]


def test_the_curve_of_a_step_is_the_share_of_boxes_with_that_overlap(ax):
    overlap = np.array([[0.4, 0.8], [0.6, 0.8], [0.7, 0.9], [0.95, 0.95]])
    plots.network.overlap_by_step(ax, overlap, (0.5, 0.6, 0.7))
    at_half = [line.get_ydata()[100] for line in ax.get_lines()[:4]]
    assert at_half == [50, 100, 100, 100]


def test_a_box_of_a_stage_is_dashed_and_that_of_the_cell_is_not(ax):
    _, axes = plt.subplots(1, 4)
    stages = np.array([[5, 5, 15, 15]] * 4)
    plots.network.steps(axes, IMAGE, stages, (8, 10, 16, 20), list("abcd"))
    own, box = axes[2].patches
    assert own.get_linestyle() in ("solid", "-") and box.get_linestyle() not in ("solid", "-")
    assert (own.get_x(), own.get_y(), own.get_width(), own.get_height()) == (8, 10, 8, 10)
    assert [a.get_title() for a in axes] == list("abcd")


def test_the_anchors_shapes_are_drawn_among_the_cells(ax):
    plots.network.cell_sizes(ax, [10.0], [12.0], ["A172"], (16,), (1.0, 4.0))
    (squares,) = ax.get_lines()
    assert sorted(zip(*squares.get_data(), strict=True)) == [(8.0, 32.0), (16.0, 16.0)]
    assert ax.collections[0].get_offsets().tolist() == [[10.0, 12.0]]


def test_the_diagram_names_all_parts(ax):
    plots.network.diagram()
    words = {text.get_text().replace("\n", " ") for text in plt.gcf().axes[-1].texts}
    assert {"image", "res2", "res5", "p2  (1/4)", "p6  (1/64)"} <= words
    assert {"RPN proposals", "mask head"} <= words
    assert {f"box head {k}" for k in (1, 2, 3)} == {w[:10] for w in words if "box head" in w}


def test_boxes_are_dashed_unless_they_are_the_truth(ax):
    plots.network.boxes(ax, IMAGE, [[1, 2, 5, 9]], dashed=False)
    assert ax.patches[0].get_linestyle() in ("solid", "-")
    plots.network.shares(ax, {"res2": np.array([0.2, 0.9])})
    assert ax.get_xticklabels()[0].get_text() == "res2\nn = 2"
