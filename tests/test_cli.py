import json
import re

import pytest
from pycocotools import mask as coco_mask

from deepmucs_utils.cli import _parser, main


def commands():
    return next(iter(_parser()._subparsers._group_actions)).choices


@pytest.mark.parametrize("command", sorted(commands()))
def test_each_command_has_a_help_that_says_what_it_does(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert re.search(r"^[A-Z].*\.$", capsys.readouterr().out, flags=re.M)


@pytest.mark.parametrize(
    "arguments",
    [
        ["compose", "nowhere", "out", "--set", "Demo40"],
        ["compose", "nowhere", "out", "--set", "Demo41"],
        ["train", "nowhere", "--val", "nowhere", "--out", "out"],
        ["predict", "nowhere", "nothing.png", "--out", "out"],
        ["evaluate", "nowhere.json", "nothing.json", "--out", "out"],
        ["run", "--set", "Demo40", "--root", "nowhere", "--out", "out"],
        ["phantom", "out", "--cultures", "HeLa"],
    ],
)
def test_bad_input_is_one_sentence_exit_2_and_nothing_written(
    arguments, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("deepmucs: error: ") and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["compose", "root", "out"],
        ["compose", "root", "out", "--set", "Demo40", "--jobs", "0"],
        ["train", "set", "--val", "val", "--out", "run", "--model", "huge"],
    ],
)
def test_a_wrong_command_line_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


def test_evaluate_prints_and_writes_metrics(tmp_path, capsys):
    cell = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 3, 3]}
    rle = {"size": [8, 8], "counts": [9, 3, 5, 3, 5, 3, 36]}
    truth = {
        "images": [{"id": 1, "height": 8, "width": 8, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "A172"}],
        "annotations": [cell | {"id": 1, "area": 9, "iscrowd": 0, "segmentation": rle}],
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    compressed = coco_mask.frPyObjects(rle, 8, 8)
    compressed["counts"] = compressed["counts"].decode()
    found = [cell | {"score": 0.9, "segmentation": compressed}]
    (tmp_path / "pred.json").write_text(json.dumps(found))
    arguments = [str(tmp_path / "gt.json"), str(tmp_path / "pred.json"), "--out", str(tmp_path)]
    assert main(["evaluate", *arguments]) == 0
    assert re.search(r"segm +AP +n +1 +100.00", capsys.readouterr().out)
    assert json.loads((tmp_path / "metrics.json").read_text())["segm"]["AP"] == pytest.approx(100)
