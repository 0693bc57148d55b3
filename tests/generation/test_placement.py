import numpy as np
import pytest
from discs import canvas, sprite
from scipy.spatial import cKDTree

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.placement import Places

SPACING = {"A172": np.linspace(18, 22, 41).tolist(), "BV2": np.linspace(18, 22, 41).tolist()}


def scatter(kind, seed, number=20, size=(400, 400), interactions=None, cultures=("A172", "BV2")):
    """Centres and cultures of cells placed in one image."""
    scene = canvas(*size)
    places = Places(scene, np.random.default_rng(seed), kind, SPACING, interactions)
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
        pairs = {("A172", "BV2"): pull} if pull else None
        kind = "interacting" if pull else "uniform"
        centres, culture, _ = scatter(kind, seed, interactions=pairs)
        near = cKDTree(centres[culture == 1]).query_ball_point(centres[culture == 0], 60)
        counts.append(np.mean([len(found) for found in near]))
    return np.mean(counts)


def test_interacting_cultures_attract_or_repel_each_other():
    assert partners_nearby(-3.0) < 0.5 * partners_nearby(0)
    assert partners_nearby(3.0) > 1.4 * partners_nearby(0)


def test_a_cell_that_finds_no_place_by_chance_gets_the_last_free_one():
    scene = canvas(100, 120)
    places = Places(scene, np.random.default_rng(0), "uniform", {})
    wall = sprite(radius=6)
    scene._occupied[:] = 255
    scene._occupied[40:60, 50:70] = 0
    scene._areas, scene._visible = [12000], [12000]
    scene.owner[scene._occupied > 0] = 0
    top, left = places.draw(wall, "A172")
    assert 40 - 6 <= top + 12 - 6 and top + 12 + 6 <= 60 + 6
    assert scene.fits(wall, top, left, 0.2)
    assert 50 - 6 <= left + 12 - 6 and left + 12 + 6 <= 70 + 6


def test_a_canvas_that_is_too_small_is_an_error_with_numbers():
    with pytest.raises(DeepMuCSError, match=r"31 × 31 px found no place on a canvas of 40 × 40"):
        scene = canvas(40, 40)
        places = Places(scene, np.random.default_rng(0), "uniform", {})
        cell = sprite(radius=9)
        for _ in range(20):
            scene.add(cell, *places.draw(cell, "A172"))
