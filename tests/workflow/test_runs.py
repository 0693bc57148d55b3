import json

import pytest

import deepmucs_utils
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.segmentation import training
from deepmucs_utils.segmentation.launch import Launch
from deepmucs_utils.workflow import params, runs
from tests.tiny import write_set


def check(tmp_path, **changes):
    return params.check(**({"set_name": "Demo40", "fraction": 0.1, "out_dir": tmp_path} | changes))


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({"fraction": 1.0}, "Demo40"),
        ({}, "Demo40-0.1"),
        ({"n_images": 12}, "Demo40-12images"),
        ({"cultures": "A172,BV2", "seed": 3}, "Demo40-0.1-A172+BV2-seed3"),
    ],
)
def test_a_label_tells_what_differs_from_the_recipe(tmp_path, changes, label):
    assert runs.label(check(tmp_path, **changes)) == label


def test_val_and_test_sets_are_of_the_same_family_and_share(tmp_path):
    p = runs.for_split(check(tmp_path, set_name="DeepMuCS1600", n_images=160), "test")
    assert (p.set_name, p.fraction, p.n_images) == ("DeepMuCS_test", 0.1, None)
    assert runs.for_split(check(tmp_path), "val").set_name == "Demo_val"


def test_a_set_that_is_not_one_to_train_on_is_refused(tmp_path):
    with pytest.raises(DeepMuCSError, match="a test set; expected one to train on"):
        runs.for_split(check(tmp_path, set_name="Demo_test", fraction=1.0), "val")


def test_a_family_goes_from_the_smallest_to_the_largest_set(tmp_path):
    names = [q.set_name for q in runs.family(check(tmp_path, set_name="Demo80"))]
    assert names == ["Demo40", "Demo80", "Demo200"]
    names = [q.set_name for q in runs.family(check(tmp_path, set_name="DeepMuCS800"))]
    assert names == ["DeepMuCS800", "DeepMuCS1600", "DeepMuCS4000"]


def test_a_folder_is_not_taken_over_by_a_run_with_other_parameters(tmp_path):
    runs.claim(check(tmp_path, iterations=5))
    runs.claim(check(tmp_path, iterations=5))
    with pytest.raises(DeepMuCSError, match="iterations is 5 there and 6 here"):
        runs.claim(check(tmp_path, iterations=6))
    with pytest.raises(DeepMuCSError, match="batch is None there and 4 here"):
        runs.claim(check(tmp_path, iterations=5, batch=4))


def test_a_run_goes_on_with_another_number_of_processes(tmp_path):
    runs.claim(check(tmp_path, processes=2))
    runs.claim(check(tmp_path))


def test_a_run_is_trained_as_its_parameters_say(tmp_path, monkeypatch):
    folder, seen = write_set(tmp_path / "set"), {}
    monkeypatch.setattr(runs, "compose", lambda p, split: folder)
    monkeypatch.setattr(
        training, "train", lambda cfg, *_, launch, **__: seen.update(cfg=cfg, launch=launch)
    )
    runs.train(check(tmp_path, batch=4, weights=folder, processes=2))
    assert seen["cfg"].SOLVER.IMS_PER_BATCH == 4
    assert seen["cfg"].MODEL.WEIGHTS == str(folder)
    assert seen["launch"] == Launch(processes=2)


def test_the_trial_folder_has_another_name_when_the_code_of_a_run_is_another(tmp_path, monkeypatch):
    package = tmp_path / "deepmucs_utils"
    for folder in (*runs.CODE, "plots"):
        (package / folder).mkdir(parents=True)
        (package / folder / "one.py").write_text("x = 1\n")
    monkeypatch.setattr(deepmucs_utils, "__file__", str(package / "__init__.py"))
    p, names = params.Parameters(), []
    for folder, content in [("plots", "x = 1\n"), ("plots", "x = 2\n"), ("generation", "x = 2\n")]:
        (package / folder / "one.py").write_text(content)
        names.append(runs.out_dir(p).name)
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(("split", "least"), [("val", 6), ("test", 12)])
def test_the_default_phantoms_sets_have_blocks_enough_for_intervals(trial, split, least):
    recipe = json.loads((runs.compose(trial, split) / "recipe.json").read_text())
    assert recipe["bank"]["blocks"] >= least


def test_results_tell_parameters_sets_metrics_machine_and_time(trial):
    results = json.loads((runs.run_folder(trial) / "results.json").read_text())
    assert results["parameters"]["set_name"] == "Demo40"
    assert results["parameters"]["iterations"] == trial.iterations
    assert results["sets"]["train"]["images"] == 8
    assert not (runs.run_folder(trial) / "metrics.json").exists()  # one copy
    assert set(results["metrics"]) >= {"bbox", "segm", "n_images", "n_cells"}
    assert results["metrics"]["n_cells"] == results["sets"]["test"]["total"]
    assert results["environment"]["packages"]["torch"]
    assert results["seconds"]["training"] > 0


def test_a_finished_run_is_read_and_not_repeated(trial, monkeypatch):
    monkeypatch.setattr(runs, "predict", lambda p: pytest.fail("the run was repeated"))
    assert runs.finish(trial)["parameters"]["set_name"] == "Demo40"


def test_results_are_the_same_when_written_and_when_read_later(trial, monkeypatch):
    first, path = runs.finish(trial), runs.run_folder(trial) / "results.json"
    monkeypatch.setattr(runs, "write_results", lambda p, metrics: path.write_text(text))
    text = path.read_text()
    path.unlink()
    assert repr(runs.finish(trial)) == repr(first)  # NaN, not null, for what has too few cells
