import pytest

from deepmucs_utils.data.cultures import CATEGORIES, CULTURE_NAMES, parse_name
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.recipes import PUBLISHED


def test_the_cultures_are_in_the_published_tables_order():
    assert list(CULTURE_NAMES) == [c for c in PUBLISHED.columns if c in CULTURE_NAMES]
    assert [category["id"] for category in CATEGORIES] == list(range(1, 9))


def test_a_file_name_gives_culture_well_and_time():
    assert parse_name("SHSY5Y_Phase_A10_1_01d08h30m_2.tif") == ("SHSY5Y", "A10", 32.5)


@pytest.mark.parametrize("name", ["A172.tif", "A172_Phase_7C_1_00d00h00m_1.tif", ""])
def test_another_file_name_is_refused_with_the_expected_form(name):
    with pytest.raises(DeepMuCSError, match="expected the form A172_Phase_C7"):
        parse_name(name)
