import numpy as np
import pytest

from deepmucs_utils.cli import main
from deepmucs_utils.data.cultures import CULTURE_NAMES
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.phantom.write import write_phantom
from deepmucs_utils.studies.phantom.comparison import CRITERIA, as_text, compare
from deepmucs_utils.studies.phantom.measure_root import measure_root
from deepmucs_utils.studies.phantom.reference import (
    FITTED,
    read_range,
    reference_profiles,
    reference_statistics,
    rim,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A small phantom of all cultures."""
    folder = tmp_path_factory.mktemp("acceptance")
    return write_phantom(folder / "root", images=2, seed=0, jobs=1)


@pytest.fixture(scope="module")
def measurement(root, tmp_path_factory):
    return measure_root(root, ("train", "val"), tmp_path_factory.mktemp("cache"), jobs=1)


def test_the_reference_has_all_eight_cultures_and_profiles_of_seven():
    assert set(reference_statistics().index) == set(CULTURE_NAMES)
    assert set(reference_profiles()["culture"]) == set(CULTURE_NAMES) - {"BV2"}


@pytest.mark.parametrize(
    ("entry", "pair"),
    [
        ("0.41..0.55", (0.41, 0.55)),
        ("0.35", (0.35, 0.35)),
        ("~150..240 (a guess)", (150, 240)),
        ("-0.12..-0.05", (-0.12, -0.05)),
        (84, (84, 84)),
    ],
)
def test_an_entry_of_the_reference_is_read_as_a_range(entry, pair):
    assert read_range(entry) == pair


def test_rim_and_trough_of_the_reference_are_those_of_its_statistics():
    found = rim(reference_profiles(), "MCF7")
    assert (found["rim_peak"], found["rim_peak_at_px"]) == (21.75, -1)
    assert (found["inner_trough"], found["inner_trough_at_px"]) == (-20.87, -3)
    assert np.isnan(list(rim(reference_profiles(), "BV2").values())).all()


def test_contacts_and_texture_are_compared_with_the_images_to_fit_to():
    reference = reference_statistics()
    assert reference.loc["MCF7", "contact_median"] == 2
    assert reference.loc["MCF7", ["contact_p10", "contact_p90"]].tolist() == [-2, 8]
    assert reference.loc["Huh7", "core_to_margin"] == 1.241
    assert reference.loc["BV2", list(FITTED)].isna().all()
    assert set(FITTED) <= set(CRITERIA)


@pytest.mark.slow
def test_a_root_passes_when_it_is_compared_with_itself(measurement):
    comparison = compare(measurement, measurement)
    absolute = comparison["criterion"].isin(["mean_minus_bg_median", "profile_from_+4px"])
    assert comparison[~absolute]["passed"].all(), as_text(comparison)


@pytest.mark.slow
def test_the_phantom_is_measured_about_as_livecell_is(measurement):
    """It was fitted to some of these images only, and varies more than they do."""
    comparison = compare(measurement)
    assert set(comparison["culture"]) == set(CULTURE_NAMES)
    assert comparison["passed"].mean() > 0.7, as_text(comparison)
    exact = comparison["criterion"].isin(["noise_along_y_not_x", "profile_from_+4px"])
    assert comparison[exact]["passed"].all(), as_text(comparison)


def test_the_command_prints_the_comparison_and_writes_its_tables(tmp_path, capsys):
    small = write_phantom(
        tmp_path / "small", images=1, cultures=["SkBr3"], size=(300, 300), seed=1, jobs=1
    )
    arguments = [
        "measure",
        str(small),
        "--against",
        str(small),
        "--out",
        str(tmp_path / "tables"),
        "--cache",
        str(tmp_path),
        "--jobs",
        "1",
    ]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "area_median" in printed and "outside its limits" in printed
    names = {path.name for path in (tmp_path / "tables").iterdir()}
    assert names == {"statistics.csv", "profiles.csv", "comparison.csv"}


def test_a_root_that_is_none_is_one_sentence(tmp_path):
    with pytest.raises(DeepMuCSError, match="expected a LIVECell root"):
        measure_root(tmp_path / "nothing")
