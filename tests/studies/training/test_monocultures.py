"""Monoculture images become a set whose classes are the cultures; donors stay out."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest

from deepmucs_utils.data.cultures import CATEGORY_ID
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.matching import match_files
from deepmucs_utils.evaluation.metrics import evaluate
from deepmucs_utils.studies.training.monocultures import (
    Windows,
    count_windows,
    scene_table,
    write_monocultures,
)
from tests.coco_scenes import square

NAMES = [
    "A172_Phase_C7_1_00d00h00m_1.tif",
    "A172_Phase_C7_1_01d00h00m_1.tif",
    "BV2_Phase_A4_1_00d00h00m_1.tif",
    "BV2_Phase_A5_1_00d00h00m_1.tif",
]
SIZE = 60, 100
CORNERS = [(10, 10), (40, 30), (45, 5)]  # x, y; squares of 10 px


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Four images of two cultures with three squares each, in LIVECell's layout."""
    folder = tmp_path_factory.mktemp("root")
    annotations = folder / "annotations" / "LIVECell"
    annotations.mkdir(parents=True)
    (folder / "images" / "livecell_test_images").mkdir(parents=True)
    images, cells = [], []
    for number, name in enumerate(NAMES):
        pixels = np.full(SIZE, 100 + number, np.uint8)
        cv2.imwrite(str(folder / "images" / "livecell_test_images" / name), pixels)
        images.append({"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        for x, y in CORNERS:
            polygon = [x, y, x + 10, y, x + 10, y + 10, x, y + 10]
            cells.append(
                {
                    "id": len(cells),
                    "image_id": number,
                    "category_id": 1,
                    "area": 100.0,
                    "bbox": [x, y, 10, 10],
                    "segmentation": [polygon],
                    "iscrowd": 0,
                }
            )
    content = {"images": images, "annotations": cells, "categories": [{"id": 1, "name": "cell"}]}
    (annotations / "livecell_coco_test.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def write(root, tmp_path):
    def written(name="set", **options):
        folder = write_monocultures(root, tmp_path / name, cache=tmp_path / "cache", **options)
        return folder, json.loads((folder / "annotations.json").read_text())

    return written


def test_classes_are_the_cultures_and_pixels_are_untouched(write):
    folder, content = write()
    assert [image["source"] for image in content["images"]] == NAMES
    assert [image["block"] for image in content["images"]] == ["A172 C7"] * 2 + ["BV2 A4", "BV2 A5"]
    wanted = [CATEGORY_ID["A172"]] * 6 + [CATEGORY_ID["BV2"]] * 6
    assert [cell["category_id"] for cell in content["annotations"]] == wanted
    first = content["annotations"][0]
    assert first["area"] == 100 and first["bbox"] == square(10, 10)["bbox"]
    pixels = cv2.imread(str(folder / "images" / "000002.png"), cv2.IMREAD_GRAYSCALE)
    assert pixels.shape == SIZE and (pixels == 102).all()
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe["images"] == 4 and recipe["cells"] == {"A172": 6, "BV2": 6}


def test_a_model_that_names_every_cell_a172_is_right_pooled_and_half_right_by_class(
    write, tmp_path
):
    folder, content = write()
    found = [
        {key: cell[key] for key in ("image_id", "bbox", "segmentation")}
        | {"category_id": CATEGORY_ID["A172"], "score": 0.8 + 0.05 * (cell["image_id"] > 1)}
        for cell in content["annotations"]
    ]
    (tmp_path / "predictions.json").write_text(json.dumps(found))
    metrics = evaluate(match_files(folder, tmp_path / "predictions.json"))
    assert metrics["pooled"]["segm"]["AP"] == pytest.approx(100)
    assert metrics["segm"]["per_class"]["BV2"]["AP"] == 0
    assert metrics["segm"]["per_class"]["A172"]["AP"] == pytest.approx(50)  # BV2's come first
    row = scene_table({"a model": metrics}).loc["a model"]
    assert row["segmentation"].to_dict() == pytest.approx(
        {"AP": 25, "AP50": 25, "AP pooled": 100, "AP50 pooled": 100}
    )
    assert row["test"].to_dict() == {"images": 4, "cells": 12}


def test_images_that_gave_a_donor_are_left_out(write, tmp_path):
    donors = tmp_path / "coculture"
    donors.mkdir()
    table = pd.DataFrame({"donor_image": [NAMES[0], NAMES[2], NAMES[2]]})
    table.to_parquet(donors / "provenance.parquet")
    folder, content = write(without=donors)
    assert [image["source"] for image in content["images"]] == [NAMES[1], NAMES[3]]
    assert json.loads((folder / "recipe.json").read_text())["left_out_as_donors"] == 2
    pd.DataFrame({"donor_image": NAMES}).to_parquet(donors / "provenance.parquet")
    with pytest.raises(DeepMuCSError, match="none of the 4 images .* gave no donor"):
        write("none", without=donors)
    assert not (tmp_path / "none").exists()


def test_the_table_of_scenes_counts_windows_images_wells_and_cells(write):
    """Windows of 60 × 48 px: in each image three cells in the first, half of one in the second."""
    folder, _ = write(windows=Windows((60, 48)))
    table = count_windows(folder)
    assert list(table.index) == ["A172", "BV-2"]
    assert table.loc["BV-2"].to_dict() == {
        "windows": 4,
        "images": 2,
        "wells": 2,
        "cells": 8,
        "cells a window": 2,
        "most": 3,
    }
    assert table.loc["A172", "wells"] == 1


def test_windows_cut_cells_and_slivers_count_as_neither_cell_nor_background(write):
    """Windows of 60 × 48 px start at x = 2: the third square, x 45 to 54, is cut at 50: half is in
    each; the second, x 40 to 49, lies in the first alone."""
    _, content = write(windows=Windows((60, 48)), cultures=["A172"])
    assert [(i["height"], i["width"]) for i in content["images"]] == [(60, 48)] * 4
    areas = {0: [], 1: []}
    for cell in content["annotations"]:
        if cell["image_id"] in areas:
            areas[cell["image_id"]].append((cell["area"], cell["iscrowd"]))
    assert areas == {0: [(100, 0), (100, 0), (50, 0)], 1: [(50, 0)]}
    _, narrow = write(
        "narrow", windows=Windows((60, 44)), cultures=["A172"]
    )  # x from 6 to 49 and 50 to 93
    first = [c for c in narrow["annotations"] if c["image_id"] == 0]
    assert [(c["area"], c["iscrowd"]) for c in first] == [(100, 0), (100, 0), (50, 0)]
    _, low = write(
        "low", windows=Windows((8, 100)), cultures=["A172"]
    )  # y from 2: rows 2–9, 10–17, …
    assert any(c["iscrowd"] for c in low["annotations"])
    with pytest.raises(DeepMuCSError, match="hold no window of 61 × 10"):
        write("large", windows=Windows((61, 10)))


def test_a_choice_takes_the_cultures_in_turn_and_the_seed_decides(write):
    _, content = write(windows=Windows(number=2, seed=1))
    assert {cell["category_id"] for cell in content["annotations"]} == {1, 3}
    _, again = write("again", windows=Windows(number=2, seed=1))
    assert content == again
    sources = {
        tuple(
            i["source"] for i in write(f"seed{s}", windows=Windows(number=2, seed=s))[1]["images"]
        )
        for s in range(6)
    }
    assert len(sources) > 1


def test_an_existing_folder_is_not_touched(write, tmp_path):
    write()
    with pytest.raises(DeepMuCSError, match="exists already"):
        write()


def test_genuine_livecell_images_become_a_set_that_can_be_judged(sample, tmp_path):
    """Of the sample's five test images; what is there, taken as a prediction, is found to 100 %."""
    folder = write_monocultures(
        sample, tmp_path / "set", cache=tmp_path / "cache", windows=Windows((256, 352))
    )
    content = json.loads((folder / "annotations.json").read_text())
    cultures = ["A172", "BT474", "Huh7", "MCF7", "SKOV3"]
    assert len(content["images"]) == 5 * 4
    assert {cell["category_id"] for cell in content["annotations"]} == {
        CATEGORY_ID[name] for name in cultures
    }
    found = [
        {key: cell[key] for key in ("image_id", "category_id", "bbox", "segmentation")}
        | {"score": 0.9}
        for cell in content["annotations"]
        if not cell["iscrowd"]
    ]
    (tmp_path / "predictions.json").write_text(json.dumps(found))
    metrics = evaluate(match_files(folder, tmp_path / "predictions.json"))
    assert metrics["segm"]["AP"] == pytest.approx(100)
    assert metrics["pooled"]["segm"]["AP"] == pytest.approx(100)
    assert metrics["n_cells"] == len(found) > 500
