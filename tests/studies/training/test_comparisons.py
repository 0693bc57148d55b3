"""The same model is trained on each kind of scene, once, whatever goes on beside it."""

import json
import sys

import pytest

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.segmentation.run_files import differences, read_config
from deepmucs_utils.studies.training import comparisons
from deepmucs_utils.workflow import params, runs


@pytest.fixture(scope="module")
def p(trial):
    """The tiny run whose comparisons notebooks 41 and 44 show: they find these trainings done."""
    return runs.family(trial)[-1]


@pytest.fixture(scope="module")
def folders(p):
    return comparisons.train_kinds(p, comparisons.KINDS)


def test_all_kinds_have_one_configuration(p, folders):
    """Same network, seed, batch and iterations; what differs are the sets."""
    configs = [read_config(folder) for folder in folders.values()]
    assert configs[0].SOLVER.MAX_ITER == comparisons.iterations(p) == 15
    for config in configs[1:]:
        assert differences(configs[0], config) == []


def test_what_is_trained_is_kept(p, folders, monkeypatch):
    times = {kind: (folder / "best.pth").stat().st_mtime_ns for kind, folder in folders.items()}
    monkeypatch.setattr(comparisons, "_train", lambda *a, **k: pytest.fail("trained again"))
    again = comparisons.train_kinds(p, comparisons.KINDS)
    assert again == folders
    assert times == {k: (folder / "best.pth").stat().st_mtime_ns for k, folder in again.items()}
    for folder in folders.values():
        assert json.loads((folder / "training.json").read_text())["seconds"] > 0


def test_a_run_without_a_number_of_iterations_takes_a_quarter_of_the_models_own():
    assert comparisons.iterations(params.check(set_name="Demo200")) == 150


def test_each_kind_has_as_many_images_as_the_runs_set(p):
    table = comparisons.describe(p, comparisons.KINDS)
    own = json.loads((runs.compose(p, "train") / "annotations.json").read_text())
    assert (table["images"] == len(own["images"])).all() and len(own["images"]) == 40
    assert table.loc[["co-cultures", "naive composites"], "cells"].nunique() == 1
    assert table["epochs"].iloc[0] == pytest.approx(15 * 12 / 40)


def test_a_training_that_fails_says_why(tmp_path):
    command = [sys.executable, "-m", "deepmucs_utils.cli", "train", str(tmp_path / "none")]
    command += ["--val", str(tmp_path / "none"), "--out", str(tmp_path / "run")]
    with pytest.raises(DeepMuCSError, match=r"the training in .*run failed: .*none"):
        comparisons._train(command, tmp_path / "run")
    assert not (tmp_path / "run" / "training.json").exists()
