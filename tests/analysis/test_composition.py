"""Fractions, their bias and its correction, on the mix that a model was trained on and others."""

import numpy as np
import pandas as pd
import pytest

from deepmucs_utils.analysis.composition import (
    agreement,
    corrected_composition,
    design_effect,
    fields_needed,
    fractions,
    learn_correction,
    shift_mixes,
)
from deepmucs_utils.analysis.counting import Counts, count
from deepmucs_utils.errors import DeepMuCSError
from tests.coco_scenes import ONE_WRONG_CLASS, THREE_CELLS, loaded

#: In each of ten images, of 80 A172 60 are found, 10 called BV2, 10 missed; of 20 BV2 18 found and
#: 2 called A172; 5 BV2 are false.
IMAGE = [[60, 10, 10], [2, 18, 0], [0, 5, 0]]
VAL = Counts(("A172", "BV2"), np.array([IMAGE] * 10))


def test_three_cells_one_wrong_class():
    counts = count(*loaded(THREE_CELLS, ONE_WRONG_CLASS))
    table = fractions(counts).set_index("culture")
    assert table.loc["A172", ["true", "predicted"]].tolist() == pytest.approx([1, 2 / 3])
    assert table.loc["BV2", ["true", "predicted"]].tolist() == pytest.approx([0, 1 / 3])
    assert table.loc["A172", "cells"] == 3


def test_true_and_predicted_cells_are_row_and_column_sums():
    """Of 80 A172 60 are found, 10 called BV2, 10 missed; of 20 BV2 2 called A172; 5 are false."""
    counts = Counts(("A172", "BV2"), np.array([[[60, 10, 10], [2, 18, 0], [0, 5, 0]]]))
    assert counts.true.tolist() == [[80, 20]] and counts.predicted.tolist() == [[62, 33]]


def test_bias_and_limits_of_agreement_of_four_fields():
    """Differences −0.1, 0, 0.1, 0.2: mean 0.05, standard deviation 0.1291."""
    table = pd.DataFrame(
        {
            "culture": "A172",
            "cells": [50, 60, 70, 80],
            "predicted_cells": 50,
            "true": 0.5,
            "predicted": [0.4, 0.5, 0.6, 0.7],
        }
    )
    row = agreement(table).loc["A172"]
    assert row["fields"] == 4 and row["bias"] == pytest.approx(0.05)
    spread = np.sqrt((0.15**2 + 0.05**2) * 2 / 3)
    assert row["low"] == pytest.approx(0.05 - 1.96 * spread)
    assert row["high"] == pytest.approx(0.05 + 1.96 * spread)
    assert row["bias_high"] == pytest.approx(0.05 + 3.182446 * spread / 2)  # Student's t, 3 df
    few = agreement(table.assign(cells=[49, 60, 49, 80])).loc["A172"]
    assert few["fields"] == 2 and np.isnan(few["low"])


def test_the_correction_gives_back_the_cells_it_was_learned_on():
    correction = learn_correction(VAL)
    assert correction.named.tolist() == [[0.75, 0.125], [0.1, 0.9]]
    assert correction.false.tolist() == [0, 5]
    assert correction.apply([620, 330], n_images=10) == pytest.approx([800, 200])
    assert correction.apply([0, 50], n_images=10) == pytest.approx([0, 0], abs=1e-9)


def test_the_corrected_composition_is_the_true_one_and_intervals_hold_it():
    rng = np.random.default_rng(0)
    images = np.stack([rng.poisson(IMAGE) for _ in range(30)])
    test = Counts(VAL.cultures, images)
    table = corrected_composition(test, VAL)
    assert (table["corrected"] - table["true"]).abs().max() < 0.02
    assert (table["predicted"] - table["true"]).abs().max() > 0.1
    assert table["low"].lt(table["corrected"]).all() and table["high"].gt(table["corrected"]).all()


@pytest.mark.parametrize("mix", [(1, 1), (9, 1), (99, 1), (0, 1), (1, 0)])
def test_the_correction_holds_on_shifted_mixes(mix):
    """Expected names: A172 0.75 a + 0.1 b, BV2 0.125 a + 0.9 b + 0.1 for each cell of the set."""
    share = np.array(mix) / sum(mix)
    table = shift_mixes(
        VAL,
        learn_correction(VAL),
        {"mix": dict(zip(VAL.cultures, mix, strict=True))},
    ).set_index("culture")
    named = share @ [[0.75, 0.125], [0.1, 0.9]] + [0, 0.1]
    assert table["predicted"].to_numpy() == pytest.approx(named / named.sum(), abs=0.01)
    assert table["corrected"].to_numpy() == pytest.approx(share, abs=0.01)
    assert (table["corrected_error"] < table["predicted_error"]).all()


def test_a_culture_that_the_validation_set_lacks_is_named():
    lacking = Counts(("A172", "BV2"), np.array([[[5, 0, 0], [0, 0, 0], [0, 0, 0]]]))
    with pytest.raises(DeepMuCSError, match="BV2: no cell of this culture"):
        learn_correction(lacking)
    kept = lacking.keep(["A172"])
    assert learn_correction(kept).named.tolist() == [[1]]
    with pytest.raises(DeepMuCSError, match="holds no BV2 to draw"):
        shift_mixes(lacking, learn_correction(VAL), {"1:1": {"A172": 1, "BV2": 1}})


def test_a_name_that_is_left_out_makes_its_cell_missed_and_its_own_cells_false():
    kept = VAL.keep(["A172"])
    assert kept.confusion[0].tolist() == [[60, 20], [2, 0]]


def test_where_a_culture_never_gets_its_name_nothing_is_corrected():
    """All cells are called BV2: any mix of the two explains the counts."""
    counts = Counts(("A172", "BV2"), np.array([[[0, 8, 2], [0, 9, 1], [0, 1, 0]]] * 3))
    correction = learn_correction(counts)
    assert np.isnan(correction.apply([0, 18], 1)).all()
    table = corrected_composition(counts, counts)
    assert table["predicted"].tolist() == [0, 1]
    assert table[["corrected", "low", "high"]].isna().all(axis=None)
    assert shift_mixes(counts, correction, {"1:1": {"A172": 1, "BV2": 1}})["corrected"].isna().all()


def test_the_design_effect_is_one_for_independent_cells_and_the_field_size_for_pure_fields():
    rng = np.random.default_rng(0)
    independent = rng.multinomial(100, [0.3, 0.7], size=2000)
    assert design_effect(independent) == pytest.approx([1, 1], abs=0.1)
    pure = np.array([[100, 0], [0, 100]] * 50)
    assert design_effect(pure) == pytest.approx([100, 100], rel=0.02)
    assert np.isnan(design_effect(np.array([[10, 0], [10, 0]]))).all()


def test_the_fields_asked_for_give_the_wanted_precision():
    """The mix varies between fields, so the effect is above 1; with as many fields as the formula
    says, the pooled fraction lies within the half-width in about 95 % of samples."""
    rng = np.random.default_rng(1)

    def sample(fields):
        p = rng.beta(6, 14, size=fields)  # varies between fields around 0.3
        cells = rng.binomial(50, p)
        return np.stack([cells, 50 - cells], axis=1)

    many = sample(4000)
    effect = design_effect(many)[0]
    assert effect > 2
    n = fields_needed(0.3, 0.05, 50, effect)
    means = [sample(n)[:, 0].sum() / (50 * n) for _ in range(400)]
    assert 0.92 <= np.mean(np.abs(np.array(means) - 0.3) <= 0.05) <= 0.98


def test_impossible_precision_is_refused():
    with pytest.raises(DeepMuCSError, match="half_width 0"):
        fields_needed(0.5, 0, 100)
