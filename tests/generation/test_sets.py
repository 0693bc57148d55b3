import json
import subprocess
import sys
import time
from collections import Counter

import cv2
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from joblib import parallel_config
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from deepmucs_utils.data.cultures import CATEGORY_ID
from deepmucs_utils.data.livecell import read_index
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation import sets
from deepmucs_utils.generation.compose import Style
from deepmucs_utils.generation.recipes import get_recipe
from deepmucs_utils.generation.sets import compose_set

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def compose(root, some, cache):
    def call(out, **options):
        recipe = get_recipe("Demo40", 0.25, options.pop("cultures", some))
        defaults = {"seed": 3, "jobs": 1, "cache": cache}
        return compose_set(root, out, recipe, **(defaults | options))

    return call


@pytest.fixture(scope="module")
def made(compose, tmp_path_factory):
    return compose(tmp_path_factory.mktemp("sets") / "demo")


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_set_has_the_recipes_images_and_cells_to_the_cell(made, some, capsys):
    recipe = get_recipe("Demo40", 0.25, some)
    coco = COCO(str(made / "annotations.json"))
    assert len(coco.imgs) == recipe.images == len(list((made / "images").iterdir())) == 10
    counts = Counter(annotation["category_id"] for annotation in coco.anns.values())
    assert counts == {CATEGORY_ID[culture]: count for culture, count in recipe.cells.items()}
    assert sorted(coco.anns) == list(range(1, recipe.total + 1))


def test_masks_are_disjoint_and_agree_with_area_and_box(made, capsys):
    coco = COCO(str(made / "annotations.json"))
    for image in coco.imgs.values():
        annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
        masks = [coco.annToMask(annotation) for annotation in annotations]
        assert np.sum(masks, axis=0).max() <= 1
        for annotation, mask in zip(annotations, masks, strict=True):
            assert annotation["area"] == mask.sum() > 0
            assert annotation["bbox"] == coco_mask.toBbox(annotation["segmentation"]).tolist()
        pixels = cv2.imread(str(made / "images" / image["file_name"]), cv2.IMREAD_GRAYSCALE)
        assert pixels.shape == (image["height"], image["width"]) == (256, 352)
        assert abs(np.median(pixels) - 128) <= 1


def test_provenance_names_the_donor_of_every_cell(made, root, some, cache):
    provenance = pd.read_parquet(made / "provenance.parquet")
    donors = read_index(root, "train", cache).set_index("annotation_id")
    donors = donors.loc[provenance["donor_annotation"]]
    assert provenance["culture"].tolist() == donors["culture"].tolist()
    assert provenance["donor_image"].tolist() == donors["file_name"].tolist()
    assert provenance.groupby(["image_id", "piece"])["donor_image"].nunique().max() == 1
    assert provenance.groupby(["image_id", "piece"]).size().max() > 1  # some are groups
    assert (provenance["symmetry"] > 0).any()
    assert provenance["visible"].between(0.1, 1).all()
    per_image = provenance.groupby("image_id")
    assert (per_image["culture"].nunique() >= 2).all()
    wells = provenance.groupby("donor_well")["block"].nunique()
    by_culture = provenance.groupby(["culture", "donor_well"])["block"].nunique()
    assert len(wells) and (by_culture == 1).all()  # a well gives to one block only


def test_a_set_does_not_depend_on_the_number_of_workers(made, compose, tmp_path):
    assert contents(compose(tmp_path / "two", jobs=2)) == contents(made)


def test_another_seed_gives_another_set(made, compose, tmp_path):
    other = contents(compose(tmp_path / "other", seed=4))
    assert other["images/000000.png"] != contents(made)["images/000000.png"]


def test_one_image_alone_is_the_image_of_the_set(made, compose, tmp_path):
    alone = compose(tmp_path / "alone", only=7)
    assert [p.name for p in (alone / "images").iterdir()] == ["000007.png"]
    assert contents(alone)["images/000007.png"] == contents(made)["images/000007.png"]
    whole = json.loads((made / "annotations.json").read_text())["annotations"]
    part = json.loads((alone / "annotations.json").read_text())["annotations"]
    assert part == [annotation for annotation in whole if annotation["image_id"] == 7]


def test_an_interrupted_set_resumes_to_the_same_bytes(made, compose, tmp_path, monkeypatch):
    compose_image = sets.compose_image
    monkeypatch.setattr(sets, "CHUNK", 3)

    def failing(plan, *rest):
        if plan.index == 6:
            raise KeyboardInterrupt
        return compose_image(plan, *rest)

    monkeypatch.setattr(sets, "compose_image", failing)
    with pytest.raises(KeyboardInterrupt):
        compose(tmp_path / "set")
    assert not (tmp_path / "set").exists()
    composed = []
    monkeypatch.setattr(
        sets, "compose_image", lambda *a: composed.append(a[0].index) or compose_image(*a)
    )
    assert contents(compose(tmp_path / "set")) == contents(made)
    assert composed == [6, 7, 8, 9]  # two chunks of three were done


def test_a_set_resumes_after_its_process_was_killed_to_the_same_bytes(
    made, root, some, cache, tmp_path, monkeypatch
):
    out = tmp_path / "set"
    monkeypatch.setattr(sets, "CHUNK", 1)
    code = (
        "from deepmucs_utils.generation import recipes, sets;"
        "sets.CHUNK = 1;"
        f"recipe = recipes.get_recipe('Demo40', 0.25, {some!r});"
        f"sets.compose_set({str(root)!r}, {str(out)!r}, recipe, 3, jobs=1, cache={str(cache)!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    records = tmp_path / "set.partial" / "records"
    while process.poll() is None and not (records.is_dir() and any(records.glob("*.json"))):
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -9 and not out.exists()
    compose_set(root, out, get_recipe("Demo40", 0.25, some), 3, jobs=1, cache=cache)
    assert contents(out) == contents(made)


def test_eight_workers_give_the_same_bytes(made, compose, tmp_path):
    with parallel_config(backend="threading"):
        assert contents(compose(tmp_path / "eight", jobs=8)) == contents(made)


def test_a_dask_cluster_gives_the_same_bytes_by_joblibs_switch(
    made, compose, tmp_path, monkeypatch
):
    monkeypatch.setattr(sets, "CHUNK", 3)
    monkeypatch.chdir(tmp_path)
    with (
        LocalCluster(2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster),
        parallel_config(backend="dask"),
    ):
        assert contents(compose(tmp_path / "dask", jobs=2)) == contents(made)


def test_the_scene_is_the_same_whatever_the_blend(made, compose, tmp_path):
    first, other = contents(made), contents(compose(tmp_path / "hard", style=Style(blend="hard")))
    assert other["annotations.json"] == first["annotations.json"]
    assert other["images/000000.png"] != first["images/000000.png"]


def test_a_dense_set_is_dense_and_takes_most_cells_in_groups(root, some, cache, tmp_path):
    dense = get_recipe("Dense_train", cultures=some, n_images=3)
    out = compose_set(root, tmp_path / "dense", dense, jobs=1, cache=cache)
    recipe = json.loads((out / "recipe.json").read_text())
    assert 0.1 <= recipe["cover"]["least"] and recipe["cover"]["most"] <= 0.5
    provenance = pd.read_parquet(out / "provenance.parquet")
    assert len(provenance) == recipe["set"]["total"]
    pieces = provenance.groupby(["image_id", "piece"])["piece"].transform("size")
    assert (pieces > 1).mean() > 0.5


def test_the_recipe_says_what_was_left_out_and_how_often_donors_were_used(made):
    facts = json.loads((made / "recipe.json").read_text())["bank"]
    assert facts["blocks"] == 2 and facts["note"] == ""
    assert all(len(wells) == 2 and all(wells) for wells in facts["wells"].values())
    assert set(facts["reuse"]) == set(facts["donors"])
    assert {"culture", "reason", "cells"} == set(facts["excluded"][0])


def test_a_style_that_cannot_be_is_refused_in_one_sentence():
    for options, message in (
        ({"placement": "heaped"}, "placement 'heaped': unknown.*clustered, uniform, interacting"),
        ({"blend": "soft"}, "blend 'soft'"),
        ({"placement": "interacting"}, "with 0 interactions"),
        ({"interactions": (("A172", "BV2", 1.0),)}, "placement 'clustered' with 1 interactions"),
        ({"placement": "interacting", "interactions": (("A172", "B", 1.0),)}, "interaction"),
    ):
        with pytest.raises(DeepMuCSError, match=message):
            Style(**options)


def test_a_finished_set_is_not_composed_again(made, compose, monkeypatch):
    monkeypatch.setattr(sets, "build_bank", lambda *a: pytest.fail("the bank was opened"))
    assert compose(made) == made


def test_another_set_or_other_files_are_not_overwritten(made, compose, tmp_path):
    with pytest.raises(DeepMuCSError, match="another recipe.*seed"):
        compose(made, seed=99)
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(DeepMuCSError, match="no co-culture set"):
        compose(tmp_path)


def test_a_culture_that_the_root_lacks_is_named_with_the_way_out(compose, tmp_path):
    with pytest.raises(DeepMuCSError, match="no donor cells of BV2.*--cultures A172,SkBr3"):
        compose(tmp_path / "set", cultures=["A172", "BV2", "SkBr3"])
    assert not (tmp_path / "set").exists()


def test_an_image_beyond_the_set_is_refused(compose, tmp_path):
    with pytest.raises(DeepMuCSError, match="image 10.*from 0 to 9"):
        compose(tmp_path / "set", only=10)
