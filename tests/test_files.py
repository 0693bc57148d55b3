from pathlib import Path

import numpy as np
import pytest

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import read_json, replace_file, write_json, write_text


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
    assert '"µm²"' in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {
        "n": 3,
        "AP": [0.5, None],
        "size": [2, 3],
        "limits": [[0.0, None]],
        "root": str(Path("a") / "b"),
        "unit": "µm²",
    }


def test_a_json_file_that_is_missing_or_broken_is_named(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1')
    with pytest.raises(DeepMuCSError, match="a.json: not a json file"):
        read_json(tmp_path / "a.json")
    with pytest.raises(DeepMuCSError, match="b.json: cannot be read"):
        read_json(tmp_path / "b.json")


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
