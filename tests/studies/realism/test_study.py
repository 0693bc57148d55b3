import numpy as np
import pytest

from deepmucs_utils.generation.cells import distance_to
from deepmucs_utils.studies.realism.patches import Ring
from deepmucs_utils.studies.realism.study import edge_statistics


def disc(step):
    """A ring on which the grey level is that of the distance, with a step at 5 px."""
    mask = np.hypot(*(np.indices((80, 80)) - 39.5)) <= 20
    distance = distance_to(mask)
    pixels = np.rint(128 + 10 * distance.clip(0, 9) + step * (distance > 5)).astype(np.uint8)
    return Ring(pixels, mask, np.ones((80, 80), bool), 128.0, 100.0)


def test_the_profile_is_the_grey_level_by_distance_and_a_step_shows_as_a_derivative():
    smooth, stepped = (edge_statistics(disc(step)) for step in (0, 20))
    assert smooth["mean"] == pytest.approx(10 * np.arange(1, 9), abs=3)
    assert smooth["derivative"] == pytest.approx(10, abs=1)
    assert stepped["derivative"] > 1.5 * smooth["derivative"]
