import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmucs_utils.generation.plan import Dealer, assign_blocks, deal_counts
from deepmucs_utils.generation.recipes import PUBLISHED, get_recipe


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=8), st.integers(1, 40), st.integers(0, 99)
)
@settings(max_examples=200, deadline=None)
def test_dealt_cells_add_up_and_no_image_is_empty(counts, images, seed):
    if sum(counts) < images:
        images = sum(counts)
    cells = dict(enumerate(counts))
    dealt = deal_counts(cells, images, np.random.default_rng(seed))
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
    dealer = Dealer(np.array([7, 8, 9]), np.random.default_rng(0))
    rounds = [[dealer.draw() for _ in range(3)] for _ in range(8)]
    assert all(sorted(row for row, _ in one) == [7, 8, 9] for one in rounds)
    used = [symmetry for one in rounds for row, symmetry in one if row == 8]
    assert sorted(used) == list(range(8))


def test_blocks_share_no_well():
    blocks, n_blocks = assign_blocks({"A172": ["A1", "A2", "A3", "A1"], "BV2": ["B7", "B9"]})
    assert n_blocks == 2
    assert {blocks["BV2", "B7"], blocks["BV2", "B9"]} == {0, 1}
    assert sorted(blocks["A172", well] for well in ("A1", "A2", "A3")) == [0, 0, 1]
