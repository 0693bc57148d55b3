"""Envelopes are exact under chance and find what lies outside; Holm keeps the level over tests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmucs_utils.analysis.envelopes import curve_p, envelope, extremeness, holm


def test_the_most_extreme_curve_comes_first_and_p_is_its_share():
    curves = np.array([[9, 2, 2], [1, 2, 3], [2, 3, 2], [3, 1, 1]])
    assert curve_p(curves) == pytest.approx(1 / 4)
    assert extremeness(curves).argmin() == 0
    inside = np.array([[2.5, 2.5], [1, 4], [2, 3], [3, 2], [4, 1]])
    assert curve_p(inside) == pytest.approx(1)


def test_continuous_ranks_of_five_numbers():
    """From below: exp(-1/6) for 1, 1 + 1/3 for 2 (between 1 and 4), 2 + 2/3 for 4 (2 and 5); from
    above: exp(-3/4) for 8, 1 + 3/4 for 5 (between 8 and 4)."""
    expected = [np.exp(-1 / 6), 4 / 3, 1 + 3 / 4, np.exp(-3 / 4)]
    found = extremeness(np.array([[1.0], [2.0], [5.0], [8.0], [4.0]]))
    assert found[:4].tolist() == pytest.approx(expected)
    tied = extremeness(np.array([[0.0], [0.0], [0.0], [0.0]]))
    assert tied.tolist() == [2.0] * 4


def test_a_single_number_is_tested_from_both_sides():
    low, middle = np.arange(100.0), np.roll(np.arange(100.0), -50)
    assert curve_p(low[:, None]) == pytest.approx(0.02)  # 99 lies as far out
    assert curve_p(np.append(-5.0, low[1:])[:, None]) == pytest.approx(0.01)
    assert curve_p(middle[:, None]) == pytest.approx(1.0)


def test_the_envelope_leaves_out_the_share_of_curves_that_was_asked_for():
    curves = np.random.default_rng(0).normal(size=(200, 10))
    low, high = envelope(curves)
    outside = ((curves < low) | (curves > high)).any(axis=1)
    assert outside.sum() == 10


def test_curve_p_values_are_uniform_under_chance():
    rng = np.random.default_rng(0)
    walks = rng.normal(size=(2000, 20, 6)).cumsum(axis=2)
    rejected = np.mean([curve_p(curves) <= 0.05 for curves in walks])
    assert 0.04 <= rejected <= 0.06


def test_holms_correction_of_three_tests():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holms_p_values_are_larger_at_most_one_and_keep_their_order(p_values):
    corrected = holm(p_values)
    assert (corrected >= np.array(p_values) - 1e-12).all() and (corrected <= 1).all()
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()
