from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmucs_utils.data.cultures import CULTURE_NAMES, MEAN_AREAS
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.recipes import (
    DENSE_DRAWN,
    PUBLISHED,
    get_recipe,
    scale_counts,
)


@pytest.mark.parametrize("name", list(PUBLISHED.index))
def test_a_published_set_has_the_published_counts(name):
    recipe = get_recipe(name)
    assert recipe.images == PUBLISHED.loc[name, "images"]
    assert recipe.total == PUBLISHED.loc[name, "cells"]
    assert recipe.cells == {c: PUBLISHED.loc[name, c] for c in CULTURE_NAMES}
    assert recipe.note == ""


def test_the_sample_scale_set_has_188_cells_in_16_images():
    kept = [culture for culture in CULTURE_NAMES if culture != "BV2"]
    recipe = get_recipe("DeepMuCS800", fraction=0.02, cultures=kept)
    assert (recipe.images, recipe.total) == (16, 188)
    assert recipe.cells == {
        "A172": 7,
        "BT474": 20,
        "Huh7": 2,
        "MCF7": 24,
        "SHSY5Y": 73,
        "SkBr3": 59,
        "SKOV3": 3,
    }


def test_the_demo_test_set_is_topped_up_and_says_so():
    recipe = get_recipe("Demo_test")
    assert recipe.images == 78
    assert min(recipe.cells.values()) == 60
    assert recipe.cells["SHSY5Y"] == 348
    assert "topped up to 60 cells of A172, Huh7, SKOV3" in recipe.note


@given(
    st.dictionaries(st.sampled_from(CULTURE_NAMES), st.integers(0, 20000), min_size=1),
    st.fractions(0, 1),
)
def test_scaled_counts_sum_to_the_rounded_total_and_differ_by_less_than_one(published, fraction):
    scaled = scale_counts(published, fraction)
    assert sum(scaled.values()) == round(fraction * sum(published.values()))
    assert all(abs(scaled[c] - fraction * published[c]) <= 1 for c in published)


def test_ties_go_to_the_first_culture():
    assert scale_counts({"A172": 1, "BT474": 1}, Fraction(1, 2)) == {"A172": 1, "BT474": 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "DeepMuCS801"}, "DeepMuCS801"),
        ({"name": "Demo40", "cultures": ["A173"]}, "A173"),
        ({"name": "Demo40", "fraction": 0}, "fraction 0"),
        ({"name": "Demo40", "fraction": 0.001}, "at least one image"),
        ({"name": "Demo40", "cultures": ["Huh7"]}, "a cell for each"),
        ({"name": "Demo40", "cultures": ["Huh7"], "mix": {"Huh7": 1}}, "expected Pairs_val"),
        ({"name": "Pairs_val", "cultures": ["Huh7"], "mix": {"A172": 1}}, "a part for each"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_in_one_sentence(arguments, message):
    with pytest.raises(DeepMuCSError, match=message):
        get_recipe(**arguments)


def test_in_a_dense_set_every_culture_covers_the_same_area():
    recipe = get_recipe("Dense_train")
    covers = [count * MEAN_AREAS[culture] for culture, count in recipe.cells.items()]
    assert covers == pytest.approx([covers[0]] * len(covers), rel=0.01)
    cover = sum(covers) / (recipe.images * 520 * 704)
    assert cover == pytest.approx(sum(DENSE_DRAWN) / 2, rel=0.01)
    assert (recipe.images, recipe.split, "not published" in recipe.note) == (200, "train", True)


@pytest.mark.parametrize(
    ("mix", "cells"),
    [(None, (600, 600)), ((9, 1), (1080, 120)), ((1, 99), (12, 1188)), ((2, 1), (800, 400))],
)
def test_pairs_are_mixed_as_asked_and_their_total_stays(mix, cells):
    pair = ("A172", "SkBr3")
    mix = mix and dict(zip(pair, mix, strict=True))
    recipe = get_recipe("Pairs_test", cultures=pair, n_images=10, mix=mix)
    assert recipe.cells == dict(zip(pair, cells, strict=True))


def test_a_culture_that_is_named_twice_counts_once():
    for name in ("Demo40", "Dense_train"):
        assert get_recipe(name, cultures=("BV2", "A172", "A172")) == get_recipe(
            name, cultures=("A172", "BV2")
        )
