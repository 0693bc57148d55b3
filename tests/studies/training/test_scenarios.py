"""Sets of another kind are made once, from the right images, at the run's own size."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from deepmucs_utils.data.cultures import CATEGORY_ID
from deepmucs_utils.phantom.write import write_phantom
from deepmucs_utils.studies.training import scenarios
from deepmucs_utils.workflow import params, runs


@pytest.fixture(scope="module")
def p(tmp_path_factory):
    """A run on a small phantom of two cultures; nothing is trained."""
    folder = tmp_path_factory.mktemp("scenarios")
    write_phantom(folder / "root", images=6, cultures=["A172", "SkBr3"], jobs=1)
    return params.check(
        set_name="Demo40",
        n_images=4,
        cultures="A172,SkBr3",
        data_root=folder / "root",
        out_dir=folder / "runs",
    )


def test_a_pair_has_many_single_cells_of_each_culture_in_every_image(p):
    folder = scenarios.compose_pair(p, ("A172", "SkBr3"), 2.0, n_images=3)
    table = pd.read_parquet(folder / "provenance.parquet")
    counts = table.groupby(["image_id", "culture"]).size().unstack()
    assert counts.sum().to_dict() == {"A172": 180, "SkBr3": 180} and counts.min().min() >= 40
    assert (table.groupby(["image_id", "piece"]).size() == 1).all()
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["style"]["interactions"] == [["A172", "SkBr3", 2.0]]
    changed = (folder / "annotations.json").stat().st_mtime_ns
    assert scenarios.compose_pair(p, ("A172", "SkBr3"), 2.0, n_images=3) == folder
    assert (folder / "annotations.json").stat().st_mtime_ns == changed
    assert scenarios.compose_pair(p, ("A172", "SkBr3"), n_images=3) != folder


def test_the_cells_of_a_pair_are_mixed_as_asked(p):
    folder = scenarios.compose_pair(p, ("SkBr3", "A172"), n_images=2, mix=(99, 1))
    table = pd.read_parquet(folder / "provenance.parquet")
    assert table["culture"].value_counts().to_dict() == {"SkBr3": 238, "A172": 2}
    assert folder != scenarios.compose_pair(p, ("SkBr3", "A172"), n_images=2, mix=(9, 1))


def test_real_scenes_are_windows_of_images_that_gave_the_test_set_no_cell(p):
    folder = scenarios.real_scenes(p)
    content = json.loads((folder / "annotations.json").read_text())
    own = runs.compose(p, "test")
    donors = set(pd.read_parquet(own / "provenance.parquet")["donor_image"])
    sources = {image["source"] for image in content["images"]}
    assert sources and not sources & donors
    images = json.loads((own / "annotations.json").read_text())["images"]
    assert len(content["images"]) <= len(images)
    assert {(i["height"], i["width"]) for i in content["images"]} == {
        (images[0]["height"], images[0]["width"])
    }


def test_on_the_phantom_real_scenes_come_from_a_second_phantom(p, tmp_path, monkeypatch):
    """All its test images may be donors, so none of them is shown."""
    own, seen = runs.compose(p, "test"), {}
    monkeypatch.setattr(runs, "data_root", lambda p: tmp_path / "phantom")
    monkeypatch.setattr(runs, "compose", lambda p, split: own)

    def write(folder, seed, jobs):
        seen.update(folder=folder, seed=seed)
        return write_phantom(folder, images=1, cultures=["A172", "SkBr3"], seed=seed, jobs=1)

    monkeypatch.setattr("deepmucs_utils.phantom.write.write_phantom", write)
    folder = scenarios.real_scenes(replace(p, data_root=None, out_dir=tmp_path / "runs"))
    content = json.loads((folder / "annotations.json").read_text())
    assert seen["folder"] == tmp_path / "phantom-spare" and seen["seed"] == 1
    assert {cell["category_id"] for cell in content["annotations"]} == {
        CATEGORY_ID["A172"],
        CATEGORY_ID["SkBr3"],
    }


def test_the_controls_are_trained_on_as_many_images(p):
    train = len(json.loads((runs.compose(p) / "annotations.json").read_text())["images"])
    for folder in (scenarios.monocultures(p, "train"), scenarios.naive_composites(p)):
        images = json.loads((folder / "annotations.json").read_text())["images"]
        assert len(images) == train
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["style"]["blend"] == "hard" and recipe["style"]["placement"] == "uniform"
