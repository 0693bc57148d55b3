"""Sets of another kind are made once, from the right images, at the run's own size."""

import json

import pandas as pd
import pytest

from deepmucs_utils import params, runs, scenarios
from deepmucs_utils.data.phantom import write_phantom


@pytest.fixture(scope="module")
def p(tmp_path_factory):
    """A run on a small phantom of two cultures; nothing is trained."""
    folder = tmp_path_factory.mktemp("scenarios")
    write_phantom(folder / "root", images=6, cultures=["A172", "SkBr3"], jobs=1)
    return params.check(
        set_name="Demo40", n_images=4, cultures="A172,SkBr3", data_root=folder / "root",
        out_dir=folder / "runs",
    )  # fmt: skip


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


def test_monocultures_are_windows_of_images_that_gave_the_test_set_no_cell(p):
    folder = scenarios.monocultures(p)
    content = json.loads((folder / "annotations.json").read_text())
    own = runs.compose(p, "test")
    donors = set(pd.read_parquet(own / "provenance.parquet")["donor_image"])
    sources = {image["source"] for image in content["images"]}
    assert sources and not sources & donors
    size = json.loads((own / "annotations.json").read_text())["images"][0]
    assert {(i["height"], i["width"]) for i in content["images"]} == {
        (size["height"], size["width"])
    }


def test_the_controls_are_trained_on_as_many_images(p):
    train = len(json.loads((runs.compose(p) / "annotations.json").read_text())["images"])
    for folder in (scenarios.monocultures(p, "train"), scenarios.naive_composites(p)):
        images = json.loads((folder / "annotations.json").read_text())["images"]
        assert len(images) == train
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["style"]["blend"] == "hard" and recipe["style"]["placement"] == "uniform"
