import cv2
import numpy as np
import pytest

from deepmucs_utils.data.masks import paint
from deepmucs_utils.generation.cells import (
    PLATEAU,
    REACH,
    edge_profile,
    extract,
    free_boundary,
    make_matte,
)


def square(x0, y0, side):
    return [np.array([x0, y0, x0 + side, y0, x0 + side, y0 + side, x0, y0 + side], float)]


def test_the_matte_is_full_on_the_plateau_and_ends_at_its_reach():
    mask = np.zeros((61, 61), bool)
    mask[25:36, 25:36] = True
    matte = make_matte(mask, np.zeros_like(mask))
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert (matte[away <= PLATEAU - 0.1] == 1).all()
    assert (matte[away >= REACH + 0.1] == 0).all()
    assert matte[30, 36 + 3] == pytest.approx(0.5, abs=0.05)  # 4 px from the edge


def test_no_pixel_of_a_neighbour_or_nearer_to_one_is_taken():
    mask = np.zeros((40, 40), bool)
    mask[10:30, 5:15] = True
    neighbours = np.zeros_like(mask)
    neighbours[10:30, 19:30] = True
    matte = make_matte(mask, neighbours)
    assert not matte[neighbours].any()
    assert (matte[20, 15:17] == 1).all()  # nearer to the cell
    assert not matte[20, 17:19].any()  # nearer to the neighbour


def test_the_free_share_of_a_boundary_is_counted_by_pixels():
    mask = np.zeros((40, 60), bool)
    mask[10:30, 10:30] = True
    assert free_boundary(mask, np.zeros_like(mask)) == 1
    touching = np.zeros_like(mask)
    touching[5:35, 30:40] = True  # lies along one of four sides
    assert free_boundary(mask, touching) == pytest.approx(0.68, abs=0.05)  # and 3 px around it


@pytest.mark.parametrize(
    ("polygons", "reason"),
    [
        ([square(50, 50, 20)], ""),
        ([square(0, 50, 20)], "cut by the border"),
        ([square(50, 50, 3)], "too small"),
        ([square(50, 50, 20), square(50, 65, 20)], "overlapped"),
        ([square(50, 50, 20), square(72, 45, 30), square(45, 72, 30)], "too few free edges"),
    ],
)
def test_a_cell_is_a_donor_or_excluded_with_its_reason(polygons, reason):
    image = np.full((120, 120), 128, np.uint8)
    cutout, found = extract(image, paint(polygons, *image.shape), 0)
    assert found == reason
    assert (cutout is None) == bool(reason)


def test_a_double_contour_and_an_implausible_area_are_excluded_with_their_reasons():
    image = np.full((120, 120), 128, np.uint8)
    scene = paint([square(50, 50, 20), square(51, 51, 20)], *image.shape)
    assert extract(image, scene, 0)[1] == ""
    assert extract(image, scene, 1)[1] == "double contour"
    assert extract(image, scene, 0, area_range=(500, 900))[1] == "area outside the culture's range"
    assert extract(image, scene, 0, area_range=(300, 900))[1] == ""


def test_the_level_is_that_of_the_free_ring():
    rng = np.random.default_rng(0)
    image = np.rint(rng.normal(131, 1, (120, 120))).astype(np.uint8)
    image[50:70, 50:70] = 90
    cutout, _ = extract(image, paint([square(50, 50, 20)], *image.shape), 0)
    assert cutout.level == pytest.approx(131, abs=0.2)
    assert cutout.free == 1
    assert (cutout.pixels[cutout.mask] == 90).mean() > 0.99


def test_the_edge_profile_of_a_ringed_disc_shows_the_ring_where_it_is():
    image = np.full((80, 80), 128, np.uint8)
    away = np.hypot(*(np.indices(image.shape) - 40))
    image[away <= 15] = 120
    image[(away > 12.5) & (away <= 14.5)] = 150
    corners = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    circle = 40.5 + 15 * np.stack([np.cos(corners), np.sin(corners)], 1)
    cutout, _ = extract(image, paint([[circle.ravel()]], *image.shape), 0)
    distance, mean = edge_profile([cutout])
    profile = dict(zip(distance.tolist(), mean, strict=True))
    assert max(profile, key=profile.get) == -1
    assert profile[-6] == pytest.approx(-8, abs=0.5)
    assert abs(profile[3]) < 0.5
