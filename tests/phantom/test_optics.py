import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deepmucs_utils.phantom.optics import camera_noise, phase_contrast

SCALE = 2


def plate(height, side=121, half=30):
    """A square plate, on a grid of SCALE pixels per pixel of the image."""
    phase = np.zeros((side * SCALE, side * SCALE), np.float32)
    start, stop = (side // 2 - half) * SCALE, (side // 2 + half + 1) * SCALE
    phase[start:stop, start:stop] = height
    return gaussian_filter(phase, 0.5 * SCALE)


def image_of(phase, halo=1.2, focus=0.0):
    return phase_contrast(phase, SCALE, halo, focus)


def test_no_phase_gives_no_contrast():
    flat = image_of(np.full((60, 80), 0.7, np.float32), focus=1.0)
    assert flat.shape == (30, 40)
    assert np.abs(flat).max() < 1e-3  # a uniform delay is invisible


def test_a_thicker_part_is_darker_and_a_bright_halo_lies_outside_its_edge():
    row = image_of(plate(0.3))[60]
    edge = 30  # first column of the plate
    assert row[edge - 1] > 3 and row[edge + 1] < -3
    assert row.argmax() in (edge - 2, edge - 1, 91, 92)
    assert row.argmin() in (edge, edge + 1, 89, 90)


def test_a_weak_phase_is_imaged_in_proportion():
    small, double = (image_of(plate(height)) for height in (0.01, 0.02))
    assert np.allclose(double, 2 * small, atol=0.02 * np.abs(double).max())


def test_the_middle_of_a_wide_plate_is_as_grey_as_the_background():
    image = image_of(plate(0.3))
    assert abs(image[60, 60]) < 0.3
    assert abs(image[:10].mean()) < 0.1


def test_the_inside_is_as_bright_as_the_outside_on_average():
    image = image_of(plate(0.3))
    assert abs(image[24:97, 24:97].mean()) < 0.3  # with the halo, as masks of LIVECell have it


def test_defocus_to_either_side_makes_edges_stronger_or_weaker():
    weaker, sharp, stronger = (np.ptp(image_of(plate(0.3), focus=f)[60]) for f in (-0.5, 0, 0.5))
    assert weaker < sharp < stronger


@pytest.mark.parametrize(("along_x", "along_y"), [(0.0, 0.3), (0.25, 0.1), (0.4, 0.33)])
def test_noise_has_the_deviation_and_about_the_correlations_that_were_asked_for(along_x, along_y):
    noise = camera_noise((400, 500), 1.3, along_x, along_y, np.random.default_rng(0))
    assert noise.std() == pytest.approx(1.3, rel=0.03)
    unit = noise / noise.std()
    assert (unit[:, 1:] * unit[:, :-1]).mean() == pytest.approx(along_x, abs=0.04)
    assert (unit[1:] * unit[:-1]).mean() == pytest.approx(along_y, abs=0.04)
