"""Pairs of cultures are composed once, with the mix that is asked for."""

import json

import pandas as pd
import pytest

from deepmucs_utils.phantom.write import write_phantom
from deepmucs_utils.studies.training.alternatives import compose_pair
from deepmucs_utils.workflow import params

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def p(tmp_path_factory):
    """A run on a small phantom of two cultures."""
    folder = tmp_path_factory.mktemp("pairs")
    write_phantom(folder / "root", images=6, cultures=["A172", "SkBr3"], jobs=1)
    return params.check(
        set_name="Demo40",
        n_images=4,
        cultures="A172,SkBr3",
        data_root=folder / "root",
        out_dir=folder / "runs",
    )


def test_a_pair_has_many_single_cells_of_each_culture_in_every_image(p):
    folder = compose_pair(p, ("A172", "SkBr3"), 2.0, n_images=3)
    table = pd.read_parquet(folder / "provenance.parquet")
    counts = table.groupby(["image_id", "culture"]).size().unstack()
    assert counts.sum().to_dict() == {"A172": 180, "SkBr3": 180} and counts.min().min() >= 40
    assert (table.groupby(["image_id", "piece"]).size() == 1).all()
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["style"]["interactions"] == [["A172", "SkBr3", 2.0]]
    changed = (folder / "annotations.json").stat().st_mtime_ns
    assert compose_pair(p, ("A172", "SkBr3"), 2.0, n_images=3) == folder
    assert (folder / "annotations.json").stat().st_mtime_ns == changed
    assert compose_pair(p, ("A172", "SkBr3"), n_images=3) != folder


def test_the_cells_of_a_pair_are_mixed_as_asked(p):
    folder = compose_pair(p, ("SkBr3", "A172"), n_images=2, mix=(99, 1))
    table = pd.read_parquet(folder / "provenance.parquet")
    assert table["culture"].value_counts().to_dict() == {"SkBr3": 238, "A172": 2}
    assert folder != compose_pair(p, ("SkBr3", "A172"), n_images=2, mix=(9, 1))
