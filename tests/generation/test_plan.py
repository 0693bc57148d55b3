import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmucs_utils.generation.plan import Dealer, assign_blocks, deal_counts
from deepmucs_utils.generation.recipes import PUBLISHED, get_recipe


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=8),
    st.integers(1, 40),
    st.integers(0, 99),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_dealt_cells_add_up_and_no_image_is_empty(counts, images, seed, filled):
    if sum(counts) < images:
        images = sum(counts)
    cells = dict(enumerate(counts))
    rng = np.random.default_rng(seed)
    fill = (rng.uniform(0.1, 0.5, images), rng.uniform(100, 2000, len(counts)))
    dealt = deal_counts(cells, images, rng, *fill if filled else ())
    assert dealt.sum(0).tolist() == counts
    assert (dealt.sum(1) >= 1).all()
    assert np.count_nonzero(dealt, axis=1).max() <= max(4, -(-len(counts) // images))


@pytest.mark.parametrize("name", list(PUBLISHED.index))
def test_every_image_of_a_published_set_holds_two_to_four_cultures(name):
    recipe = get_recipe(name)
    dealt = deal_counts(recipe.cells, recipe.images, np.random.default_rng(0))
    assert dealt.sum(0).tolist() == list(recipe.cells.values())
    held = np.count_nonzero(dealt, axis=1)
    assert held.min() == 2 and held.max() == 4


def test_donors_are_used_up_before_any_is_used_again_and_then_with_another_symmetry():
    dealer = Dealer(np.array([7, 8, 9]), [(1,), (2,), (3,)], np.random.default_rng(0), np.ones(3))
    rounds = [list(dealer.deal(3)) for _ in range(8)]
    assert all(sorted(row for row, _ in one) == [7, 8, 9] for one in rounds)
    used = [symmetry for one in rounds for row, symmetry in one if row == 8]
    assert sorted(used) == list(range(8))


def test_a_cell_used_in_a_group_is_used_alone_only_after_all_others():
    singles, groups = [(n,) for n in range(6)], [(0, 1), (2, 3, 4)]
    for seed in range(20):
        dealer = Dealer(np.arange(8), singles + groups, np.random.default_rng(seed), np.ones(8))
        used = [cell for row, _ in dealer.deal(6, 0.5) for cell in (singles + groups)[row]]
        assert sorted(used) == list(range(6))


def test_a_group_is_drawn_only_where_there_is_room_for_its_cells():
    dealer = Dealer(np.arange(2), [(1,), (2, 3, 4)], np.random.default_rng(0), np.ones(2))
    assert all(len(list(dealer.deal(2, 1.0))) == 2 for _ in range(5))
    assert [row for row, _ in dealer.deal(3, 1.0)] == [1]


def test_cells_that_the_border_often_spoils_are_drawn_earlier():
    first = 0
    for seed in range(300):
        weights = np.array([3.0, 1.0, 1.0])
        dealer = Dealer(np.arange(3), [(1,), (2,), (3,)], np.random.default_rng(seed), weights)
        first += next(dealer.deal(1))[0] == 0
    assert first / 300 == pytest.approx(3 / 5, abs=0.08)


def test_images_are_as_full_as_wanted_whatever_the_sizes_of_their_cultures_cells():
    areas = {"A172": 1200, "MCF7": 300, "SkBr3": 400, "BV2": 150, "Huh7": 1500}
    cells = {culture: round(1.5e6 / area) for culture, area in areas.items()}
    shares = np.random.default_rng(1).uniform(0.1, 0.5, 30)
    dealt = deal_counts(cells, 30, np.random.default_rng(0), shares, list(areas.values()))
    assert dealt.sum(0).tolist() == list(cells.values())
    full = dealt @ np.array(list(areas.values()))
    np.testing.assert_allclose(full / full.sum(), shares / shares.sum(), rtol=0.1)


def test_blocks_share_no_well():
    blocks = assign_blocks({"A172": ["A1", "A2", "A3", "A1"], "BV2": ["B7", "B9"]})
    assert blocks == [{"A172": ["A1", "A3"], "BV2": ["B7"]}, {"A172": ["A2"], "BV2": ["B9"]}]
