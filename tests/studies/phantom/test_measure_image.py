import numpy as np
import pytest

from deepmucs_utils.studies.phantom.measure_image import STEPS, measure_image

GREY = 128


def square(x0, y0, side):
    return [[x0, y0, x0 + side, y0, x0 + side, y0 + side, x0, y0 + side]]


def noisy(shape=(200, 240), seed=0):
    noise = np.random.default_rng(seed).normal(0, 1.2, shape)
    return np.rint(GREY + noise).astype(np.uint8)


def test_a_square_has_its_area_aspect_and_solidity():
    cells, facts, _ = measure_image(noisy(), [square(50, 60, 20)])
    assert cells[0]["area"] == 400
    assert cells[0]["aspect"] == pytest.approx(1)
    assert cells[0]["solidity"] == pytest.approx(1)
    assert not cells[0]["border"]
    assert facts["cells"] == 1 and facts["cover"] == pytest.approx(400 / (200 * 240))


def test_levels_are_relative_to_the_median_outside_the_masks():
    image = noisy()
    image[60:80, 50:70] = GREY - 10
    cells, *_ = measure_image(image, [square(50, 60, 20)])
    assert cells[0]["mean"] == pytest.approx(-10)
    assert cells[0]["sd"] == 0
    assert cells[0]["core_mean"] == pytest.approx(-10)


def test_a_cell_at_the_border_is_marked():
    cells, *_ = measure_image(noisy(), [square(0, 60, 20), square(50, 180, 20), square(80, 60, 9)])
    assert [cell["border"] for cell in cells] == [True, True, False]


@pytest.mark.parametrize(("gap", "touching"), [(1, True), (2, True), (3, False), (10, False)])
def test_cells_touch_when_at_most_three_pixel_steps_lie_between_them(gap, touching):
    # a gap of two background columns puts the nearest pixels three steps apart
    cells, facts, _ = measure_image(noisy(), [square(50, 60, 20), square(70 + gap, 60, 20)])
    assert [cell["touching"] for cell in cells] == [touching] * 2
    assert facts["touching"] == touching


def test_overlap_is_the_share_of_covered_pixels_that_lie_in_two_masks():
    _, facts, _ = measure_image(noisy(), [square(50, 60, 20), square(60, 60, 20)])
    assert facts["overlap"] == pytest.approx(200 / 600)


def test_the_edge_profile_starts_at_the_outermost_pixel_of_the_mask():
    image = noisy()
    image[60:90, 50:80] = GREY - 5  # inside
    image[60:90, 50] = image[60:90, 79] = image[60, 50:80] = image[89, 50:80] = GREY + 20
    _, _, (profile,) = measure_image(image, [square(50, 60, 30)])
    assert profile[STEPS == 0] == pytest.approx(20)
    assert profile[STEPS == -1] == pytest.approx(-5)
    assert abs(profile[STEPS == 1]) < 0.5


def test_an_edge_that_faces_a_neighbour_gives_no_profile():
    around = [square(75, 50, 40), square(5, 50, 40), square(45, 85, 30), square(45, 15, 30)]
    _, _, profiles = measure_image(noisy(), [square(45, 50, 25), *around])
    assert len(profiles) == 4  # the outer cells face free background, the one between them none


def test_texture_of_white_noise_is_not_correlated_and_of_stripes_is():
    image = noisy()
    rng = np.random.default_rng(1)
    image[20:80, 20:80] = rng.integers(100, 150, (60, 60))
    image[100:160, 100:160] = 100 + 50 * (np.arange(60) // 3 % 2)  # three columns wide
    white, stripes = measure_image(image, [square(20, 20, 60), square(100, 100, 60)])[0]
    assert abs(white["acf1"]) < 0.05 and abs(white["acf2"]) < 0.05
    assert stripes["acf1"] == pytest.approx((1 + 1 / 3) / 2, abs=0.05)  # along y 1, along x 1/3


def test_noise_is_measured_with_its_correlation_and_specks_are_counted():
    image = np.random.default_rng(2).normal(0, 2.0, (200, 241))
    image = (image[:, 1:] + image[:, :-1]) / np.sqrt(2)  # correlation 1/2 along x
    for y, x in ((30, 40), (100, 150), (150, 60)):
        image[y : y + 4, x : x + 4] -= 60
    _, facts, _ = measure_image(np.rint(GREY + image).astype(np.uint8), [square(200, 150, 20)])
    assert facts["noise"] == pytest.approx(2.0, rel=0.08)
    assert facts["noise_x1"] == pytest.approx(0.5, abs=0.05)
    assert facts["noise_y1"] == pytest.approx(0, abs=0.05)
    assert facts["specks"] == 3


def test_the_cores_texture_is_compared_with_the_margins():
    image = noisy()
    y, x = np.indices((60, 60))
    depth = np.minimum.reduce([y + 1, x + 1, 60 - y, 60 - x])  # of a pixel in the square, px
    height = np.select([depth > 8, depth > 4], [15, 10], 60)  # the outer 4 px don't count
    image[20:80, 20:80] = GREY + np.where((x + y) % 2, height, -height)  # a checkerboard
    (cell,) = measure_image(image, [square(20, 20, 60)])[0]
    assert cell["core_to_margin"] == pytest.approx(1.5)
    small = measure_image(image, [square(20, 20, 20)])[0][0]
    assert "core_to_margin" not in small  # too little lies deeper than 8 px


def test_a_wave_inside_a_cell_is_found_in_the_band_of_its_period():
    image = noisy()
    image[20:80, 20:80] = np.rint(GREY + 20 * np.sin(2 * np.pi * np.arange(60) / 5))
    (cell,) = measure_image(image, [square(20, 20, 60)])[0]
    assert cell["power6"] == pytest.approx(200, rel=0.05)
    assert max(cell["power4"], cell["power10"]) < 10


@pytest.mark.parametrize(("gap", "height"), [(0, 7), (1, 7), (0, -3)])
def test_a_contact_has_the_level_of_the_line_between_two_masks(gap, height):
    image = noisy()
    image[60:80, 50 : 90 + gap] = GREY - 10
    image[60:80, 69 : 71 + gap] = GREY + height  # on either side of the gap and in it
    for cell in measure_image(image, [square(50, 60, 20), square(70 + gap, 60, 20)])[0]:
        assert cell["contact"] == height
        assert cell["contact_sd"] < 3  # the line's ends, where it meets the background


def test_with_two_pixels_between_them_cells_have_no_contact():
    cells, *_ = measure_image(noisy(), [square(50, 60, 20), square(72, 60, 20)])
    assert not any("contact" in cell for cell in cells)
