import numpy as np
import pytest
from scipy.spatial import cKDTree

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.canvas import Sprite
from deepmucs_utils.generation.placement import Layout, Places
from tests.generation.discs import canvas, sprite

SPACING = {"A172": np.linspace(18, 22, 41).tolist(), "BV2": np.linspace(18, 22, 41).tolist()}


def scatter(kind, seed, number=20, size=(400, 400), interactions=(), cultures=("A172", "BV2")):
    """Centres and cultures of cells placed in one image."""
    scene = canvas(*size)
    places = Places(Layout(size), np.random.default_rng(seed), kind, SPACING, interactions)
    cell, centres = sprite(radius=6), []
    for index in range(number):
        top, left = places.draw(cell, cultures[index % len(cultures)])
        scene.add(cell, top, left)
        centres.append(cell.centres[0] + (top, left))
    return np.array(centres), np.arange(number) % len(cultures), scene


def nearest(centres):
    return cKDTree(centres).query(centres, k=2)[0][:, 1]


@pytest.mark.parametrize("kind", ["uniform", "clustered"])
def test_a_place_hides_at_most_a_fifth_of_any_cell_and_rarely_more_than_a_tenth(kind):
    hidden, cut = [], []
    for seed in range(15):
        centres, _, scene = scatter(kind, seed, number=30, size=(150, 150))
        visible = np.bincount(scene.owner[scene.owner >= 0], minlength=30)
        inside = ((centres > 8) & (centres < 142)).all(1)
        hidden += (1 - visible[inside] / sprite(radius=6).area).tolist()
        cut += (visible / sprite(radius=6).area).tolist()
    assert max(hidden) <= 0.2
    assert np.mean(np.array(hidden) > 0.1) < 0.05
    assert min(cut) >= 0.25 - 0.2


def test_clustered_cells_are_as_far_apart_as_the_real_ones_and_uniform_ones_are_not():
    clustered = np.concatenate([nearest(scatter("clustered", seed)[0]) for seed in range(10)])
    uniform = np.concatenate([nearest(scatter("uniform", seed)[0]) for seed in range(10)])
    assert np.median(clustered) == pytest.approx(20, abs=2.5)
    assert np.median(uniform) > 30


def partners_nearby(pull):
    """Mean number of BV2 cells within 60 px of an A172 cell."""
    counts = []
    for seed in range(12):
        pairs = [("A172", "BV2", pull)] if pull else ()
        kind = "interacting" if pull else "uniform"
        centres, culture, _ = scatter(kind, seed, interactions=pairs)
        near = cKDTree(centres[culture == 1]).query_ball_point(centres[culture == 0], 60)
        counts.append(np.mean([len(found) for found in near]))
    return np.mean(counts)


def test_interacting_cultures_attract_or_repel_each_other():
    assert partners_nearby(-3.0) < 0.5 * partners_nearby(0)
    assert partners_nearby(3.0) > 1.4 * partners_nearby(0)


def test_a_group_is_placed_by_its_worst_cell():
    pixels = np.full((40, 40), 100, np.uint8)
    labels = np.zeros((40, 40), np.uint8)
    labels[:, :10], labels[:, 20:] = 1, 2
    centres, areas = np.array([(20, 5), (20, 30)]), np.array([400, 800])
    pair = Sprite(pixels, labels, labels * 100, 128.0, centres, areas)
    layout = Layout((100, 120))
    assert layout.fits(pair, 10, -7, 0.1)  # three of ten columns of the first cell stay
    assert not layout.fits(pair, 10, -8, 0.1)
    layout.put(pair, 10, 50)
    assert not layout.fits(pair, 10, 59, 0.1)  # hides one of ten columns, but twice
    assert layout.fits(pair, 49, 50, 0.1)  # one of forty rows


def test_overlaps_add_up_over_all_neighbours():
    layout, cell = Layout((100, 100)), sprite(radius=6)
    layout.put(cell, 30, 30)
    assert layout.fits(cell, 30, 40, 0.2) and layout.fits(cell, 30, 20, 0.2)
    layout.put(cell, 30, 40)
    assert not layout.fits(cell, 30, 20, 0.1)


def test_a_piece_that_finds_no_place_by_chance_gets_the_last_free_one():
    layout = Layout((100, 120))
    wall = np.ones((100, 120), np.uint8)
    wall[40:56, 50:66] = 0
    layout.put(Sprite(wall, wall, wall, 128.0, np.array([(50, 60)]), np.array([wall.sum()])), 0, 0)
    places = Places(layout, np.random.default_rng(0), "uniform", {})
    top, left = places.draw(sprite(radius=7, margin=0), "A172")
    assert 38 <= top <= 43 and 48 <= left <= 53  # the hole is at (40, 50), a fifth may overlap


def test_a_canvas_that_is_too_small_is_an_error_with_numbers():
    places = Places(Layout((40, 40)), np.random.default_rng(0), "uniform", {})
    with pytest.raises(DeepMuCSError, match=r"31 × 31 px found no place on a canvas of 40 × 40"):
        for _ in range(20):
            places.draw(sprite(radius=9), "A172")
