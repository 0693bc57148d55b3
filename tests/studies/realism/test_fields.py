import numpy as np
import pytest

from deepmucs_utils.data.masks import paint
from deepmucs_utils.generation.recipes import get_recipe
from deepmucs_utils.generation.sets import compose_set
from deepmucs_utils.studies.realism.fields import (
    compare_fields,
    fields_table,
    measure_field,
    read_scenes,
)


def square(x, y, side):
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


@pytest.fixture()
def field():
    """Two large squares side by side, a small one far off, and a dark speck away from all."""
    rng = np.random.default_rng(0)
    image = rng.normal(128, 1, (200, 300))
    image[150:153, 250:253] -= 25
    polygons = [square(20, 20, 40), square(61, 20, 40), square(200, 100, 10)]
    return np.rint(image).astype(np.uint8), paint(polygons, 200, 300)


def test_a_field_is_measured_as_one_sees_it(field):
    found = measure_field(*field)
    assert found["cells"] == 3
    assert found["cover"] == pytest.approx((2 * 40 * 40 + 10 * 10) / (200 * 300), rel=0.05)
    assert found["touching"] == found["large"] == pytest.approx(2 / 3)
    assert found["enclosed"] == 0  # a quarter of each outline is in contact
    assert found["nearest"] == pytest.approx(41, abs=1)
    free = 1e5 / found["specks"]
    assert 0.6 * 200 * 300 < free < 200 * 300  # one speck in all that is free


def test_a_cell_alone_has_no_nearest_one_and_a_full_field_no_rate_of_specks():
    image = np.full((100, 100), 128, np.uint8)
    found = measure_field(image, paint([square(1, 1, 97)], 100, 100))
    assert np.isnan(found["nearest"]) and np.isnan(found["specks"])
    assert found["touching"] == 0


def test_fields_are_compared_by_their_least_median_and_most():
    rows = [{"cells": n, "cover": n / 10} for n in (1.0, 2.0, 6.0)]
    found = compare_fields({"real": rows})
    assert found == {"real": {"cells": [1, 2, 6], "cover": [0.1, 0.2, 0.6], "images": 3}}
    assert fields_table(found)["real"].to_dict() == {
        "cells": "2 (1 to 6)",
        "cover": "0.2 (0.1 to 0.6)",
    }


@pytest.mark.slow
def test_a_sets_scenes_are_its_masks(root, some, tmp_path):
    recipe = get_recipe("Demo40", cultures=some, n_images=2)
    out = compose_set(root, tmp_path / "set", recipe, jobs=1, cache=tmp_path)
    scenes = [scene for _, scene in read_scenes(out)]
    assert len(scenes) == 2
    for scene in scenes:
        for row, ((y0, x0, y1, x1), mask) in enumerate(scene.masks):
            assert np.array_equal(scene.owner[y0:y1, x0:x1] == row, mask)
            assert mask.any(0).all() or mask.any(1).any()
        assert scene.mask.sum() == sum(mask.sum() for _, mask in scene.masks)
