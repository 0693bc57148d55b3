"""The measurement reproduces the package's table of LIVECell statistics on the sample."""

import numpy as np
import pytest

from deepmucs_utils.studies.phantom.comparison import as_text, compare
from deepmucs_utils.studies.phantom.measure_root import measure_root
from deepmucs_utils.studies.phantom.reference import (
    FITTED,
    reference_profiles,
    reference_statistics,
    rim,
)


@pytest.fixture(scope="module")
def measurement(sample, tmp_path_factory):
    return measure_root(sample, cache=tmp_path_factory.mktemp("cache"), jobs=2)


def test_the_table_for_fitting_is_measured_on_train_and_val(sample, tmp_path):
    found = measure_root(sample, ("train", "val"), tmp_path).statistics.set_index("culture")
    wanted = reference_statistics().loc[found.index, list(FITTED)]
    np.testing.assert_allclose(found[list(FITTED)], wanted, rtol=1e-3)


@pytest.mark.parametrize(
    ("column", "relative", "absolute"),
    [
        ("cells", 0, 0),
        ("area_q25", 0.01, 1),
        ("area_median", 0.01, 1),
        ("area_q75", 0.01, 1),
        ("aspect_median", 0.01, 0),
        ("solidity_median", 0.005, 0),
        ("circularity_median", 0.01, 0),
        ("mean_minus_bg_median", 0, 0.02),
        ("sd_inside_median", 0.01, 0),
        ("core_mean_minus_bg", 0.02, 0),
        ("texture_sd_core", 0.01, 0),
        ("texture_core_skew", 0.01, 0),
        ("texture_acf1", 0, 0.005),
        ("texture_acf2", 0, 0.005),
        ("texture_acf3", 0, 0.005),
        ("p01_minus_bg", 0.01, 0),
        ("p99_minus_bg", 0.01, 0),
    ],
)
def test_shape_contrast_and_texture_are_those_of_the_table(measurement, column, relative, absolute):
    reference = reference_statistics()[column]
    for culture, found in measurement.statistics.set_index("culture")[column].items():
        wanted = float(reference[culture])
        assert found == pytest.approx(wanted, rel=relative, abs=absolute), culture


@pytest.mark.parametrize(
    ("name", "relative", "absolute"),
    [
        ("cover", 0, 0.006),
        ("overlap", 0.03, 0.0006),
        ("touching", 0, 0.006),
        ("noise", 0.06, 0),
    ],
)
def test_ranges_over_images_are_those_of_the_table(measurement, name, relative, absolute):
    reference = reference_statistics()
    ends = [f"{name}_low", f"{name}_high"]
    for _, row in measurement.statistics.iterrows():
        # which pixels are clean background is not defined with the table: with hundreds of specks
        # an image, as in BT474, ours are fewer and their noise up to 10 % lower
        more = 0.04 if name == "noise" and row["culture"] == "BT474" else 0
        wanted = reference.loc[row["culture"], ends].tolist()
        found = row[ends].tolist()
        assert found == pytest.approx(wanted, rel=relative + more, abs=absolute), row["culture"]


def test_rim_and_trough_are_those_of_the_table(measurement):
    for culture in measurement.statistics["culture"]:
        found, wanted = rim(measurement.profiles, culture), rim(reference_profiles(), culture)
        assert found["rim_peak"] == pytest.approx(wanted["rim_peak"], rel=0.15), culture
        assert found["inner_trough"] == pytest.approx(wanted["inner_trough"], rel=0.25), culture
        for name in ("rim_peak_at_px", "inner_trough_at_px"):
            assert abs(found[name] - wanted[name]) <= 1
        assert found["outside"] < 0.3


def test_the_sample_passes_its_own_comparison_but_for_specks(measurement):
    comparison = compare(measurement)
    failed = comparison[~comparison["passed"]]
    assert set(failed["criterion"]) - set(FITTED) <= {"specks"}, as_text(comparison)
