import json
import math

import pytest

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.workflow.results import conditions, kept_results


def a_result(images, gpu=None, root=None):
    return {
        "parameters": {"data_root": root, "model": "small", "iterations": 600},
        "sets": {
            "train": {"name": "Demo40", "images": images, "total": 12 * images},
            "test": {"name": "Demo_test", "images": 78, "total": 1090},
        },
        "metrics": {"segm": {"AP": 30.5, "APl": None}},
        "environment": {"gpu": gpu, "cpus": 2, "packages": {"torch": "2.14.1"}, "commit": "abc"},
        "seconds": {"training": 630.0},
        "finished": "2026-11-25T02:12:28+00:00",
    }


def write(folder, **results):
    for name, content in results.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def test_results_come_by_the_size_of_their_training_set(tmp_path):
    write(tmp_path, b=a_result(40), a=a_result(200), c=a_result(80))
    found = kept_results(tmp_path)
    assert list(found) == ["b", "c", "a"]
    assert found["b"]["metrics"]["segm"]["AP"] == 30.5
    assert math.isnan(found["b"]["metrics"]["segm"]["APl"])


def test_conditions_say_what_was_measured_on_what(tmp_path):
    write(tmp_path, a=a_result(40), b=a_result(800, gpu="H100", root="shared/LIVECell"))
    table = conditions(kept_results(tmp_path))
    assert table["data"].tolist() == ["phantom", "LIVECell"]
    assert table["hardware"].tolist() == ["2 CPU cores", "H100"]
    assert table.loc["a", ["training (min)", "commit", "finished"]].tolist() == [
        *(10.5, "abc", "2026-11-25")
    ]


def test_what_is_no_result_is_refused(tmp_path):
    with pytest.raises(DeepMuCSError, match="holds no results"):
        kept_results(tmp_path)
    write(tmp_path, a={"metrics": {}})
    with pytest.raises(DeepMuCSError, match="a.json: lacks parameters, sets, environment"):
        kept_results(tmp_path)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DeepMuCSError, match="a.json: not a json file"):
        kept_results(tmp_path)
