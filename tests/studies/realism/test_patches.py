import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from deepmucs_utils.data.masks import paint
from deepmucs_utils.generation.backgrounds import clear
from deepmucs_utils.studies.realism.patches import (
    PER_RING,
    SIDE,
    Ring,
    cell_rings,
    cleared_patches,
)


@pytest.fixture(scope="module")
def scene():
    """Twelve bright-rimmed discs on anisotropic noise."""
    rng = np.random.default_rng(0)
    field = gaussian_filter1d(rng.normal(size=(300, 400)), 0.6, axis=0)
    image = 128 + 1.3 * field / field.std()
    polygons, angle = [], np.linspace(0, 2 * np.pi, 40, endpoint=False)
    for y in (60, 150, 240):
        for x in (60, 150, 240, 330):
            away = np.hypot(*(np.indices(image.shape) - np.reshape((y, x), (2, 1, 1))))
            image += 25 * np.exp(-((away - 12) ** 2) / 4)
            polygons.append([np.stack([x + 13 * np.cos(angle), y + 13 * np.sin(angle)], 1).ravel()])
    image = np.rint(image).clip(0, 255).astype(np.uint8)
    cells = paint(polygons, *image.shape)
    return image, cells, clear(image, cells.mask, rng)


def test_cleared_patches_are_noise_and_inpainted_ones_hold_smeared_rims(scene):
    image, cells, clearing = scene
    found = cleared_patches(image, cells.mask, clearing, np.random.default_rng(0), number=40)
    deviation = {way: patches.std() for way, patches in found.items()}
    assert deviation["ours"] == pytest.approx(deviation["real"], rel=0.1)
    assert deviation["naive"] > 2 * deviation["real"]
    assert all(patches.shape[1:] == (1, SIDE, SIDE) for patches in found.values())


def test_the_same_cells_are_probed_in_every_way(scene):
    image, cells, clearing = scene
    rings = cell_rings(image, cells, clearing, np.random.default_rng(0), number=8)
    assert {way: len(found) for way, found in rings.items()} == dict.fromkeys(rings, 8)
    sizes = {way: [ring.valid.sum() for ring in found] for way, found in rings.items()}
    assert sizes["ours"] == pytest.approx(sizes["real"], rel=0.1)


def test_our_ring_has_the_real_halo_and_the_naive_one_has_none(scene):
    image, cells, clearing = scene
    rings = cell_rings(image, cells, clearing, np.random.default_rng(0), number=8)
    at_one = {
        way: np.mean([ring.deviation[ring.valid & (ring.distance < 1.5)].mean() for ring in found])
        for way, found in rings.items()
    }
    assert at_one["real"] > 5
    assert at_one["ours"] == pytest.approx(at_one["real"], rel=0.15)
    assert at_one["naive"] < 0.6 * at_one["real"]


def test_a_rings_patches_show_the_ring_alone():
    rng = np.random.default_rng(0)
    mask = np.zeros((80, 80), bool)
    mask[30:50, 30:50] = True
    pixels = np.where(mask, 20, 130).astype(np.uint8)
    ring = Ring(pixels, mask, np.ones_like(mask), 128.0, 1.0)
    patches = ring.patches(rng)
    assert patches.shape == (PER_RING, 3, SIDE, SIDE)
    assert set(np.unique(patches[:, 0])) == {0, 2}  # never the cell itself
    assert patches[:, 2].max() <= 8.5


def test_debris_beyond_the_matte_is_not_part_of_a_ring():
    mask = np.zeros((80, 80), bool)
    mask[30:50, 30:50] = True
    pixels = np.full((80, 80), 128, np.uint8)
    pixels[40:43, 55:58] = 90  # six pixels off
    ring = Ring(pixels, mask, np.ones_like(mask), 128.0, 1.0)
    assert not ring.valid[38:45, 55:58].any() and ring.valid[20:25, 55:58].any()
    assert np.abs(ring.deviation[ring.valid]).max() == 0
