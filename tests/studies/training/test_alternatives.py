"""The same model is trained on each kind of scene, once, whatever runs beside it."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from deepmucs_utils.data.cultures import CATEGORY_ID
from deepmucs_utils.phantom.write import write_phantom
from deepmucs_utils.segmentation.run_files import differences, read_config
from deepmucs_utils.studies.training import alternatives
from deepmucs_utils.workflow import params, runs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def p(trial):
    """The tiny run whose comparisons notebooks 41 and 44 show: they find these trainings done."""
    return runs.family(trial)[-1]


@pytest.fixture(scope="module")
def folders(p):
    return alternatives.train_alternatives(p, alternatives.ALTERNATIVES)


def test_all_kinds_have_one_configuration(p, folders):
    """Same network, seed, batch and iterations; what differs are the sets."""
    configs = [read_config(folder) for folder in folders.values()]
    assert configs[0].SOLVER.MAX_ITER == alternatives.iterations(p) == 15
    for config in configs[1:]:
        assert differences(configs[0], config) == []


def test_what_is_trained_is_kept(p, folders, monkeypatch):
    times = {kind: (folder / "best.pth").stat().st_mtime_ns for kind, folder in folders.items()}
    monkeypatch.setattr(alternatives, "_train", None)  # training again would fail
    again = alternatives.train_alternatives(p, alternatives.ALTERNATIVES)
    assert again == folders
    assert times == {k: (folder / "best.pth").stat().st_mtime_ns for k, folder in again.items()}
    for folder in folders.values():
        assert json.loads((folder / "training.json").read_text())["seconds"] > 0


def test_a_run_without_a_number_of_iterations_takes_a_quarter_of_the_models_own():
    assert alternatives.iterations(params.check(set_name="Demo200")) == 75


def test_each_kind_has_as_many_images_as_the_runs_set(p):
    table = alternatives.training_sets(p, alternatives.ALTERNATIVES)
    own = json.loads((runs.compose(p, "train") / "annotations.json").read_text())
    assert (table["images"] == len(own["images"])).all() and len(own["images"]) == 40
    assert table.loc[["co-cultures", "naive composites"], "cells"].nunique() == 1
    assert table["epochs"].iloc[0] == pytest.approx(15 * 16 / 40)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A run on a small phantom of two cultures; nothing is trained."""
    folder = tmp_path_factory.mktemp("alternatives")
    write_phantom(folder / "root", images=6, cultures=["A172", "SkBr3"], jobs=1)
    return params.check(
        set_name="Demo40",
        n_images=4,
        cultures="A172,SkBr3",
        data_root=folder / "root",
        out_dir=folder / "runs",
    )


def test_real_scenes_are_windows_of_images_that_gave_the_test_set_no_cell(small):
    folder = alternatives.real_scenes(small)
    content = json.loads((folder / "annotations.json").read_text())
    own = runs.compose(small, "test")
    donors = set(pd.read_parquet(own / "provenance.parquet")["donor_image"])
    sources = {image["source"] for image in content["images"]}
    assert sources and not sources & donors
    images = json.loads((own / "annotations.json").read_text())["images"]
    assert len(content["images"]) <= len(images)
    assert {(i["height"], i["width"]) for i in content["images"]} == {
        (images[0]["height"], images[0]["width"])
    }


def test_on_the_phantom_real_scenes_come_from_a_second_phantom(small, tmp_path, monkeypatch):
    """All its test images may be donors, so none of them is shown."""
    own, seen = runs.compose(small, "test"), {}
    monkeypatch.setattr(runs, "data_root", lambda p: tmp_path / "phantom")
    monkeypatch.setattr(runs, "compose", lambda p, split: own)

    def write(folder, images, seed, jobs):
        seen.update(folder=folder, seed=seed)
        return write_phantom(folder, images=1, cultures=["A172", "SkBr3"], seed=seed, jobs=1)

    monkeypatch.setattr("deepmucs_utils.phantom.write.write_phantom", write)
    folder = alternatives.real_scenes(replace(small, data_root=None, out_dir=tmp_path / "runs"))
    content = json.loads((folder / "annotations.json").read_text())
    assert seen["folder"] == tmp_path / "phantom-spare" and seen["seed"] == 1
    assert {cell["category_id"] for cell in content["annotations"]} == {
        CATEGORY_ID["A172"],
        CATEGORY_ID["SkBr3"],
    }


def test_the_controls_are_trained_on_as_many_images(small):
    train = len(json.loads((runs.compose(small) / "annotations.json").read_text())["images"])
    for folder in (alternatives.monocultures(small, "train"), alternatives.naive_composites(small)):
        images = json.loads((folder / "annotations.json").read_text())["images"]
        assert len(images) == train
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["style"]["blend"] == "hard" and recipe["style"]["placement"] == "uniform"
