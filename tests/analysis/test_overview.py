"""One call and one command give all tables of a model, and they agree with each other."""

import json

import numpy as np
import pandas as pd
import pytest

from deepmucs_utils.analysis.overview import analyse_model, read_provenance
from deepmucs_utils.cli import main
from deepmucs_utils.evaluation.matching import match_files
from tests.coco_scenes import blobs, write


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A test and a validation set of blobs; the test set has provenance."""
    folder = tmp_path_factory.mktemp("sets")
    paths = {}
    for seed, name in enumerate(("test", "val")):
        (folder / name).mkdir()
        truth, found = blobs(seed=seed, n_images=6, per_image=60)
        paths[name] = write(folder / name, truth, found)
    ids = [
        annotation["id"] for annotation in json.loads(paths["test"][0].read_text())["annotations"]
    ]
    visible = np.linspace(0.5, 1, len(ids))
    table = pd.DataFrame({"annotation_id": ids, "visible": visible})
    table.to_parquet(folder / "test" / "provenance.parquet")
    return paths


def test_tables_agree_with_each_other(sets):
    test, val = sets["test"], sets["val"]
    tables = analyse_model(match_files(*test), match_files(*val), read_provenance(test[0].parent))
    n = tables["per_class"]["n"].to_numpy()
    assert (tables["cells_by_bin"].sum(axis=1) == n).all()
    assert (tables["confusion"].iloc[:-1].sum(axis=1) == n).all()
    assert tables["images"]["cells"].sum() == n.sum() == 360
    assert (tables["composition"]["cells"] == n).all()
    assert (tables["agreement"]["fields"] == 6).all()
    for name in ("density", "border", "visible"):
        assert tables[f"ap_by_{name}"]["n"].sum() == 360
    settings = tables["settings"].iloc[0]
    assert settings["threshold_from"] == "best F1 on val" and 0 < settings["threshold"] < 1
    assert tables["errors"].loc["all", "AP50"].iloc[0] == pytest.approx(
        tables["per_class"]["AP50"].mean(skipna=False)
    )


def test_without_val_and_provenance_their_tables_are_left_out(sets):
    tables = analyse_model(match_files(*sets["val"]), provenance=read_provenance(sets["val"][0]))
    assert not {"composition", "ap_by_visible"} & set(tables)
    assert tables["settings"]["threshold"][0] == 0.5


def test_the_command_writes_every_table(sets, tmp_path, capsys):
    test, val = sets["test"], sets["val"]
    arguments = ["analyse", str(test[0].parent), str(test[1]), "--out", str(tmp_path / "tables")]
    assert main([*arguments, "--val", str(val[0].parent), "--val-pred", str(val[1])]) == 0
    files = {path.name for path in (tmp_path / "tables").iterdir()}
    assert {"errors.csv", "composition.csv", "images.csv"} <= files
    assert "missed" in capsys.readouterr().out
    assert main([*arguments, "--val", str(val[0].parent)]) == 2
    assert "expected both or neither" in capsys.readouterr().err


def test_the_interactions_command_says_when_too_few_replacements_can_find_nothing(
    sets, tmp_path, capsys
):
    arguments = ["interactions", str(sets["test"][0]), str(sets["test"][1]), "--score", "0.9"]
    arguments += ["--replacements", "2", "--jobs", "1", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert "need --replacements 719 or more" in capsys.readouterr().out
    assert {"tests.csv", "curves.csv", "nearest.csv", "neighbours.csv"} <= {
        path.name for path in tmp_path.iterdir()
    }
