"""Autocorrelation, power by period and means by distance, of one image or of many patches."""

import numpy as np
import pytest

from deepmucs_utils.studies.measures import autocorrelation, band_power, by_distance


def test_stripes_are_correlated_along_themselves_and_against_their_neighbours():
    stripes = np.tile([1.0, -1.0], (20, 10))
    everywhere = np.ones(stripes.shape, bool)
    assert autocorrelation(stripes, everywhere, [(1, 0)]) == pytest.approx(1)
    assert autocorrelation(stripes, everywhere, [(0, 1)]) == pytest.approx(-1)
    assert autocorrelation(stripes, everywhere, [(0, 1), (1, 0)]) == pytest.approx(0)


def test_both_diagonals_are_distinguished_by_the_sign_of_the_shift():
    diagonal = np.where(np.add(*np.indices((30, 30))) % 4 < 2, 1.0, -1.0)
    everywhere = np.ones(diagonal.shape, bool)
    assert autocorrelation(diagonal, everywhere, [(1, -1)]) == pytest.approx(1)
    assert autocorrelation(diagonal, everywhere, [(1, 1)]) == pytest.approx(-1)


def test_pixels_outside_the_region_change_nothing():
    values = np.random.default_rng(0).normal(size=(2, 20, 20))
    region = np.zeros(values.shape, bool)
    region[:, 5:15] = True
    changed = np.where(region, values, 50)
    first, second = (autocorrelation(one, region, [(0, 1)]) for one in (values, changed))
    assert first.shape == (2,) and first == pytest.approx(second)


def test_values_are_averaged_by_their_distance_patch_by_patch():
    step = np.tile(np.arange(4), (2, 3, 1))
    values = np.stack([np.full((3, 4), 2.0), np.tile([0.0, 1.0, 4.0, 9.0], (3, 1))])
    n, mean, square = by_distance(values, step, np.arange(1, 6))
    assert n.tolist() == [[3, 3, 3, 0, 0]] * 2
    assert mean.tolist() == [[2, 2, 2, 0, 0], [1, 4, 9, 0, 0]]
    assert square.tolist() == [[4, 4, 4, 0, 0], [1, 16, 81, 0, 0]]


@pytest.mark.parametrize(("period", "band"), [(2.5, 0), (5, 1), (8, 2), (14, 3)])
def test_a_wave_has_its_variance_in_the_band_of_its_period(period, band):
    y, x = np.indices((90, 120))
    wave = 20 + 3 * np.sin(2 * np.pi * (0.6 * x + 0.8 * y) / period)
    weights = np.clip((40 - np.hypot(y - 45, x - 60)) / 4, 0, 1)
    found = band_power(wave, weights, (1.4, 4, 6, 10, 20))
    assert found[band] == pytest.approx(4.5, rel=0.05)
    assert found.sum() == pytest.approx(4.5, rel=0.05)
    assert (
        band_power(np.where(weights > 0, wave, 200), weights, (1.4, 4, 6, 10, 20)) == found
    ).all()


def test_all_bands_together_have_the_variance_of_white_noise():
    noise = np.random.default_rng(0).normal(0, 2, (70, 50))
    found = band_power(noise, np.ones(noise.shape), (1e-3, 2, 4, np.inf))
    assert found.sum() == pytest.approx(noise.var())
