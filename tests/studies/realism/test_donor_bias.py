import numpy as np
import pytest

from deepmucs_utils.generation.bank import build_bank
from deepmucs_utils.studies.realism.donor_bias import compare_donors, measure_cells


def box(x, y, width, height):
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def test_cells_are_measured_as_they_are_drawn():
    image = np.full((80, 120), 128, np.uint8)
    image[20:30, 20:40] = 100
    image[20:30, 40:60] = 140
    found = measure_cells(image, [box(20, 20, 40, 10), box(80, 0, 12, 12), box(0, 60, 10, 10)])
    assert found["row"].tolist() == [0, 1, 2]
    assert found["area"].tolist() == pytest.approx([400, 144, 100], rel=0.1)
    assert found["aspect"][0] == pytest.approx(4, rel=0.1)
    assert found["solidity"][0] == 1
    assert found["sd"].tolist() == pytest.approx([20, 0, 0])
    assert found["cut"].tolist() == [False, True, True]


def test_each_kind_of_donor_is_compared_with_all_whole_cells_of_its_culture(root, some, tmp_path):
    bank = build_bank(root, "train", tmp_path, jobs=1)
    table = compare_donors(root, bank, tmp_path, jobs=1)
    assert list(table.index.get_level_values("culture").unique()) == list(some)
    for culture in some:
        own = table.loc[culture]
        assert own.loc["single donors", "cells"] == len(bank.cells(culture))
        assert own["cells"].max() == own.loc["all cells", "cells"]
        groups = bank.cutouts.iloc[bank.groups(culture)]["cells"].sum()
        assert own.loc["in groups", "cells"] == groups
