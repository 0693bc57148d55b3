"""A table is read back from its file as it was."""

import numpy as np
import pandas as pd

from deepmucs_utils.evaluation.tables import write_tables


def test_a_file_holds_the_rows_and_the_named_index_of_its_table(tmp_path):
    table = pd.DataFrame({"n": [3, 4], "AP": [50.0, np.nan]}, pd.Index(["a", "b"], name="culture"))
    paths = write_tables({"per_class": table, "empty": table[:0]}, tmp_path / "tables")
    assert [path.name for path in paths] == ["per_class.csv", "empty.csv"]
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)
    assert pd.read_csv(paths[0], index_col="culture").equals(table)


def test_columns_of_two_levels_and_open_ends_are_plain_text(tmp_path):
    table = pd.DataFrame({("mAP", "Det."): [1.0], ("high", ""): [np.inf]})
    (path,) = write_tables({"t": table}, tmp_path)
    assert path.read_text() == "mAP Det.,high\n1.0,inf\n"
