"""Fields that differ in their mix are worth fewer cells; the formula asks for enough of them."""

import numpy as np
import pytest

from deepmucs_utils.analysis.sample_size import design_effect, fields_needed
from deepmucs_utils.errors import DeepMuCSError


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
