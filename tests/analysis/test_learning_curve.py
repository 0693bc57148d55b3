"""A learning curve carried on by one doubling, steadily or with shrinking gains."""

import numpy as np
import pytest

from deepmucs_utils.analysis.learning_curve import next_doubling
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.resampling import interval
from tests.analysis.test_paper_claims import result


def curve(*aps):
    return result([[ap] for ap in aps], cultures=["A172"])


def test_gains_that_halve_with_each_doubling_halve_again():
    """60, 68, 72: 8 points, then 4; the next doubling brings 4 if steady, 2 if shrinking."""
    table = next_doubling([100, 200, 400], curve(60, 68, 72))
    assert table["gain"].to_dict() == pytest.approx({"steady": 4, "shrinking": 2})
    assert table["AP"].to_dict() == pytest.approx({"steady": 76, "shrinking": 74})


def test_steps_of_unequal_width_are_counted_in_doublings():
    """From 100 to 400 images two doublings with 8 points: 4 a doubling."""
    assert next_doubling([100, 400], curve(60, 68)).loc["steady", "gain"] == pytest.approx(4)
    assert len(next_doubling([100, 400], curve(60, 68))) == 1


def test_gains_that_grow_are_not_taken_to_grow_on():
    assert next_doubling([1, 2, 4], curve(60, 62, 70)).loc["shrinking", "gain"] == pytest.approx(8)


def test_a_steady_gain_is_as_sure_as_the_last_step_by_doublings():
    """Gains of 0 to 20 in two doublings: half as much, and half as wide, in one."""
    draws = [[[60], [60 + gain]] for gain in range(21)]
    table = next_doubling([1, 4], result([[60], [70]], draws, cultures=["A172"]))
    step = interval(np.array([10, *range(21)]), 5, 0.95)
    assert table.loc["steady", ["gain", "low", "high"]].tolist() == pytest.approx(
        [value / 2 for value in step.values()]
    )
    assert table.loc["steady", "verdict"] == "not told apart from zero"


def test_a_gain_that_hardly_varies_is_told_apart_from_zero():
    draws = [[[60], [70 + wobble]] for wobble in (-1, 0, 1)]
    table = next_doubling([1, 2], result([[60], [70]], draws, cultures=["A172"]))
    assert table.loc["steady", "verdict"] == "told apart from zero"


@pytest.mark.parametrize("images", [[800], [800, 800], [1600, 800]])
def test_training_sets_that_do_not_grow_are_refused(images):
    with pytest.raises(DeepMuCSError, match="each larger than the one before"):
        next_doubling(images, curve(*[60] * len(images)))
