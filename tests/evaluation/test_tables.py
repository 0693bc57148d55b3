"""A table is read back from both of its files as it was."""

import json

import numpy as np
import pandas as pd

from deepmucs_utils.evaluation.tables import write_tables


def test_both_files_hold_the_same_rows_with_null_for_nan(tmp_path):
    table = pd.DataFrame({"n": [3, 4], "AP": [50.0, np.nan]}, pd.Index(["a", "b"], name="culture"))
    paths = write_tables({"per_class": table}, tmp_path / "tables")
    assert sorted(path.name for path in paths) == ["per_class.csv", "per_class.json"]
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)
    assert pd.read_csv(paths[0], index_col="culture").equals(table)
    assert json.loads(paths[1].read_text()) == [
        {"culture": "a", "n": 3, "AP": 50.0},
        {"culture": "b", "n": 4, "AP": None},
    ]


def test_columns_of_two_levels_and_open_ends_have_plain_names_and_text(tmp_path):
    table = pd.DataFrame({("mAP", "Det."): [1.0], ("high", ""): [np.inf]})
    content = json.loads(write_tables({"t": table}, tmp_path)[1].read_text())
    assert content == [{"mAP Det.": 1.0, "high": "inf"}]
