import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from deepmucs_utils.data.clean_area import find_structure
from deepmucs_utils.generation.artefacts import find_artefacts
from deepmucs_utils.generation.backgrounds import clear, mix


def noise(rng, shape=(300, 400)):
    """Camera noise of SD 1.3 that is smoother along y than along x, as in LIVECell."""
    field = gaussian_filter1d(rng.normal(size=shape), 0.6, axis=0)
    return 1.3 * field / field.std()


def textured(rng, image, box):
    """Put something with the contrast of a cell into a box."""
    y0, x0, y1, x1 = box
    image[y0:y1, x0:x1] += rng.normal(0, 12, (y1 - y0, x1 - x0))


@pytest.fixture()
def scene():
    rng = np.random.default_rng(1)
    image = 128 + noise(rng)
    annotated, forgotten, speck = (40, 40, 90, 110), (150, 200, 190, 250), (230, 60, 235, 65)
    for box in (annotated, forgotten):
        textured(rng, image, box)
    image[speck[0] : speck[2], speck[1] : speck[3]] -= 20
    mask = np.zeros(image.shape, bool)
    mask[40:90, 40:110] = True
    return np.rint(image).clip(0, 255).astype(np.uint8), mask


def lag(image, dy, dx):
    """Autocorrelation at one lag."""
    centred = image - image.mean()
    a = centred[dy:, dx:]
    b = centred[: centred.shape[0] - dy, : centred.shape[1] - dx]
    return (a * b).mean() / centred.var()


def test_a_cleared_image_is_noise_like_the_clean_part_in_level_deviation_and_direction(scene):
    image, mask = scene
    clearing = clear(image, mask, np.random.default_rng(0))
    was_cell = clearing.background[45:85, 45:105].astype(float)
    real = image[200:290, 280:390].astype(float)
    assert was_cell.mean() == pytest.approx(real.mean(), abs=0.2)
    assert was_cell.std() == pytest.approx(real.std(), rel=0.1)
    assert lag(was_cell, 1, 0) == pytest.approx(lag(real, 1, 0), abs=0.08)
    assert lag(was_cell, 0, 1) == pytest.approx(lag(real, 0, 1), abs=0.08)
    assert lag(real, 1, 0) > lag(real, 0, 1) + 0.2  # or the test would prove nothing


def test_a_cell_that_nobody_annotated_is_found_by_its_structure_and_cleared(scene):
    image, mask = scene
    structure, deviation = find_structure(image, mask)
    assert structure[155:185, 205:245].all()
    assert deviation == pytest.approx(1.3, rel=0.15)
    cleared = clear(image, mask, np.random.default_rng(0)).background
    assert cleared[150:190, 200:250].std() < 1.6
    assert image[150:190, 200:250].std() > 10


def test_clean_pixels_stay_as_they_were_photographed(scene):
    image, mask = scene
    clearing = clear(image, mask, np.random.default_rng(0))
    deep = np.s_[210:220, 300:390]
    assert clearing.clean[deep].all()
    assert np.array_equal(clearing.background[deep], image[deep])


def test_an_image_full_of_cells_gives_no_background():
    image = np.full((200, 200), 128, np.uint8)
    assert clear(image, np.ones((200, 200), bool), np.random.default_rng(0)).background is None


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_mixing_two_noises_keeps_their_variance(weight):
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 2, (2, 100_000))
    assert mix(first, second, weight).std() == pytest.approx(2, rel=0.02)


def test_a_speck_is_an_artefact_and_a_forgotten_cell_is_not(scene):
    image, mask = scene
    artefacts, searched = find_artefacts(image, mask)
    assert len(artefacts) == 1
    cutout = artefacts[0]
    rows, columns = np.nonzero(cutout.mask)
    assert abs(cutout.top + rows.mean() - 232) < 1 and abs(cutout.left + columns.mean() - 62) < 1
    assert 20 <= cutout.mask.sum() <= 45
    assert 0 < searched < image.size
