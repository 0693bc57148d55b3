"""Networks trained on phantoms are tested on a root: the whole command, and its table by hand."""

import json
import shutil

import pandas as pd
import pytest

from deepmucs_utils.cli import main
from deepmucs_utils.data.livecell import LiveCell
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import write_json
from deepmucs_utils.phantom.write import write_phantom
from deepmucs_utils.studies.training import transfer as module
from deepmucs_utils.studies.training.transfer import as_text, score, table, transfer
from tests.coco_scenes import cell, dataset, detection, square

CULTURES = ("A172", "MCF7")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A phantom of two cultures, one image of each per split, which gives two windows."""
    folder = tmp_path_factory.mktemp("phantom") / "root"
    return write_phantom(folder, 1, list(CULTURES), size=(128, 256), jobs=1)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("transfer")


@pytest.fixture(scope="module")
def options(out, root):
    return {"out": out, "phantoms": {"phantom": root}, "trainings": 1, "iterations": 2}


@pytest.fixture(scope="module")
def found(root, options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPMUCS_CACHE", str(options["out"] / "cache"))
        patch.setattr(module, "WINDOW", (128, 128))
        yield transfer(root, windows=4, **options)


def test_a_phantom_and_the_ceiling_are_trained_and_tested_on_the_same_cells(found, out):
    scores = pd.DataFrame(found["result"]["scores"])
    assert list(scores["training"].unique()) == ["phantom", "ceiling (train+val)"]
    for _, own in scores.groupby("training"):
        assert list(own["culture"]) == ["all", *CULTURES]
        assert own["cells"].iloc[0] == own["cells"].iloc[1:].sum()
        assert own["cells"].tolist() == scores["cells"][:3].tolist()
    assert not scores["in_sample"].any()
    assert found["result"]["images"]["phantom"] == 4
    assert json.loads((out / "transfer-test.json").read_text())["result"]["split"] == "test"
    assert found["command"].endswith(
        "--split test --trainings 1 --iterations 2 --windows 4 --phantom phantom=root"
    )


def test_the_ceiling_never_trains_on_the_tested_split(found, out):
    train_and_val, test = (
        {
            image["source"]
            for image in json.loads((folder / "annotations.json").read_text())["images"]
        }
        for folder in (
            next(out.glob("sets/root-train-val-????????")),
            next(out.glob("sets/root-test-*")),
        )
    )
    assert train_and_val and test and not train_and_val & test


def test_what_was_done_is_kept(found, root, options, out):
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*.p*") if path.is_file()}
    again = transfer(root, windows=4, **options)
    assert again["result"] == found["result"]
    assert files == {path: path.stat().st_mtime_ns for path in out.rglob("*.p*") if path.is_file()}


def test_a_culture_that_was_trained_on_is_marked(found, root, options):
    within = transfer(root, "train", windows=4, **options)
    scores = pd.DataFrame(within["result"]["scores"])
    assert list(scores["training"].unique()) == ["phantom", "ceiling (val)"]
    assert scores["in_sample"].tolist() == [True] * 3 + [False] * 3
    assert "in-sample: images" in as_text(within)


def test_a_root_without_the_split_is_refused_before_anything_is_written(root, tmp_path, capsys):
    shutil.copytree(root / "annotations", tmp_path / "root" / "annotations")
    (tmp_path / "root" / "images").mkdir()
    LiveCell(tmp_path / "root").annotation_file("test").unlink()
    assert main(["transfer", str(tmp_path / "root"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "livecell_coco_test.json: no such file" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    with pytest.raises(DeepMuCSError, match="expected one of train, val, test"):
        transfer(root, "tests", tmp_path / "out")


def test_a_phantom_is_given_with_its_name(capsys):
    assert main(["transfer", "root", "--phantom", "elsewhere"]) == 2
    assert "such as old=ROOT" in capsys.readouterr().err


def test_ap50_is_that_of_all_cells_and_of_each_culture(tmp_path):
    """Two cells of A172 found, two of BV2 missed, one mask shifted by two thirds of its width."""
    truth = dataset(
        [cell("A172", square(10, 10)), cell("A172", square(50, 50))]
        + [cell("BV2", square(10, 10), 1), cell("BV2", square(50, 50), 1)],
        2,
        blocks=["A172 C7", "BV2 A4"],
    )
    truth["images"] = [image | {"source": image["file_name"]} for image in truth["images"]]
    for one in truth["annotations"]:
        one["category_id"] = 1
    truth["categories"] = [{"id": 1, "name": "cell"}]
    records = [
        detection("A172", square(10, 10), 0.9),
        detection("A172", square(50, 50), 0.8),
        detection("A172", square(17, 10), 0.7, 1),
    ]
    write_json(tmp_path / "annotations.json", truth)
    write_json(tmp_path / "predictions.json", [record | {"category_id": 1} for record in records])
    rows = score(tmp_path, tmp_path / "predictions.json", {"000001.png"})
    assert [(row["culture"], row["cells"]) for row in rows] == [("all", 4), ("A172", 2), ("BV2", 2)]
    half = 100 * 51 / 101  # precision 1 at the 51 recalls from 0 to 0.5
    for task in ("bbox", "segm"):
        assert [row[task] for row in rows] == pytest.approx([half, 100, 0])
    assert [row["in_sample"] for row in rows] == [True, False, True]


def test_the_table_has_means_ranges_and_the_ratio_to_the_ceiling():
    def record(training, seed, segm):
        return {
            "training": training, "seed": seed, "seconds": 1.0, "culture": "all", "cells": 9,
            "bbox": segm + 1, "segm": segm, "in_sample": False,
        }  # fmt: skip

    scores = [record("phantom", 0, 20.0), record("phantom", 1, 40.0)]
    scores += [record("ceiling (train)", seed, 60.0) for seed in (0, 1)]
    row = table(scores).loc["phantom", "all"]
    assert row[["cells", "boxes", "masks", "masks_least", "masks_most"]].tolist() == [
        9, 31, 30, 20, 40,
    ]  # fmt: skip
    assert row["of ceiling"] == 0.5
    found = {"seeds": [0, 1], "result": {"root": "a", "split": "test", "iterations": 5}}
    found["result"]["scores"] = scores
    text = as_text(found)
    assert "30.0 (20.0–40.0)" in text and "2 trainings of 5 iterations" in text
