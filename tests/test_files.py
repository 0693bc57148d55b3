import json
from pathlib import Path

import numpy as np
import pytest

from deepmucs_utils.files import replace_file, write_json, write_text


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "table.csv"
    write_text(path, "a,b\n")
    write_text(path, "µm²\n")
    assert path.read_text(encoding="utf-8") == "µm²\n"
    assert list(tmp_path.iterdir()) == [path]


def test_json_takes_numpy_tuples_and_paths_and_writes_nan_as_null(tmp_path):
    content = {"n": np.int64(3), "AP": [np.float32(0.5), np.nan], "size": (2, 3)}
    content |= {"limits": np.array([[0.0, np.nan]]), "root": Path("a") / "b", "unit": "µm²"}
    write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text.endswith('"µm²"\n}\n')
    assert json.loads(text) == {
        "n": 3,
        "AP": [0.5, None],
        "size": [2, 3],
        "limits": [[0.0, None]],
        "root": str(Path("a") / "b"),
        "unit": "µm²",
    }


def test_a_writing_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(b"old")

    def write(partial):
        partial.write_bytes(b"ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_file(path, write)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
