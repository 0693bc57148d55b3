import json
import math

import pytest

from deepmucs_utils.segmentation.run_files import Curves, read_curves


def test_curves_are_valid_json_whatever_the_numbers(tmp_path):
    curves = Curves(tmp_path, 0)
    curves.add(1, gradient=math.inf, val_segm_AP=math.nan, lr=0.5)
    curves.close()
    text = (tmp_path / "curves.jsonl").read_text()
    found = json.loads(text, parse_constant=pytest.fail)
    assert found == {"iteration": 1, "gradient": None, "val_segm_AP": None, "lr": 0.5}
    assert read_curves(tmp_path)["gradient"].isna().all()
