import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deepmucs_utils.phantom.cultures import PHANTOM_CULTURES, PhantomCulture, State
from deepmucs_utils.phantom.layout import SCALE, arrange
from deepmucs_utils.phantom.phase import add_debris, cell_phase

SIZE = (260, 352)
FLAT = {"area": 1500, "spread": 0.1, "body": 0, "nucleoli": 0, "margin": 0, "fine": 0.0}


def draw(state, seed=0, cover=0.4, **options):
    culture = PhantomCulture("One", (State((1, 1), **{**FLAT, **state}),), above=0, **options)
    place, rng = (np.random.default_rng(number) for number in (seed, seed + 1))
    layout = arrange(culture, cover, 0.5, SIZE, place, rng)
    return layout.layers[0], cell_phase(culture, layout, rng)


@pytest.mark.parametrize("culture", PHANTOM_CULTURES, ids=lambda culture: culture.name)
def test_nothing_is_of_a_single_pixel(culture):
    """The finest waves of the phase map, which the image can't show, hold hardly any power."""
    rng = np.random.default_rng(0)
    phase = cell_phase(culture, arrange(culture, 0.3, 0.7, SIZE, rng, rng), rng)
    add_debris(phase, culture.debris, rng)
    power = np.abs(np.fft.fft2(phase - phase.mean())) ** 2
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in phase.shape), indexing="ij"))
    assert power[frequency > 0.4].sum() < 0.03 * power.sum()


def test_granules_gather_around_the_nucleus_and_spare_it():
    layer, phase = draw({"grain": 0.4, "thin": 0.3, "clear": 3.0, "height": 0})
    strong = (phase - gaussian_filter(phase, 3 * SCALE))[layer.label > 0] > 0.15
    nuclear = layer.nuclear[layer.label > 0]
    inner, ring, outer = (
        strong[(nuclear > low) & (nuclear < high)].mean()
        for low, high in ((0, 0.6), (1.2, 1.6), (3, 9))
    )
    assert ring > 3 * outer and ring > 3 * inner


def test_cells_that_meet_leave_a_groove():
    def at_contacts(contact):
        layer, phase = draw(
            {"contact": contact, "grain": 0, "clear": 0}, colony=1, colonies=3, fill=1.5
        )
        label = layer.label
        meets = (label[:, 1:] != label[:, :-1]) & (label[:, 1:] > 0) & (label[:, :-1] > 0)
        return np.median(phase[:, 1:][meets]), np.median(phase[label > 0])

    (none, level), (groove, _) = at_contacts(0), at_contacts(0.1)
    assert none == pytest.approx(level, rel=0.2)
    assert groove < none - 0.03


def test_the_background_has_no_phase_and_debris_of_any_number_is_finite():
    layer, phase = draw({}, cover=0.1)
    assert np.abs(phase[(layer.label == 0) & (phase < 0)]).max(initial=0) < 1e-6
    empty = np.zeros((SCALE * 100, SCALE * 120), np.float32)
    add_debris(empty, 0, np.random.default_rng(0))
    assert not empty.any()
    add_debris(empty, 900, np.random.default_rng(0))
    assert np.isfinite(empty).all() and 0.1 < empty.max() < 10
