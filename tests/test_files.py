import pytest

from deepmucs_utils.files import replace_file, write_text


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "table.csv"
    write_text(path, "a,b\n")
    write_text(path, "µm²\n")
    assert path.read_text(encoding="utf-8") == "µm²\n"
    assert list(tmp_path.iterdir()) == [path]


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
