"""The page of all test images holds its data and loads nothing."""

import json
import re

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

from deepmucs_utils.data.cultures import CATEGORIES, CATEGORY_ID
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.matching import match_files
from deepmucs_utils.plots.gallery import outline_path, write_gallery


def square(x, y):
    mask = np.zeros((100, 100), np.uint8)
    mask[y : y + 10, x : x + 10] = 1
    code = rle.encode(np.asfortranarray(mask))
    return {
        "image_id": 0,
        "bbox": [x, y, 10, 10],
        "segmentation": {"size": [100, 100], "counts": code["counts"].decode()},
    }


PLACES = [square(10, 10), square(40, 40), square(70, 10)]
FOUND = list(zip(PLACES, ["A172", "A172", "BV2"], [0.9, 0.8, 0.7], strict=True))


@pytest.fixture
def paths(tmp_path):
    """Three cells of A172 in one image; the last one is predicted as BV2. The image is missing."""
    cells = [
        place | {"id": number, "category_id": CATEGORY_ID["A172"], "area": 100}
        for number, place in enumerate(PLACES)
    ]
    image = {"id": 0, "file_name": "000000.png", "height": 100, "width": 100}
    truth = {"images": [image], "annotations": cells, "categories": CATEGORIES}
    found = [
        place | {"category_id": CATEGORY_ID[name], "score": score} for place, name, score in FOUND
    ]
    for name, content in (("annotations", truth), ("predictions", found)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path, tmp_path / "predictions.json"


@pytest.fixture
def page(paths):
    folder, found = paths
    (folder / "images").mkdir()
    cv2.imwrite(str(folder / "images" / "000000.png"), np.full((100, 100), 128, np.uint8))
    models = dict.fromkeys("AB", match_files(folder, found))
    return write_gallery(folder, models, {"A": 0, "B": 0.75}, folder / "page.html").read_text()


def data(page):
    return json.loads(re.search(r"const DATA = (.*);\n", page)[1].replace("<\\/", "</"))


def test_each_model_has_its_ap50_words_and_outlines(page):
    image = data(page)["images"][0]
    first, second = image["models"]
    assert first["AP50"] == second["AP50"] == pytest.approx(66.3, abs=0.05)
    assert first["words"] == "class: 1 of 3 cells got the wrong name (A172 taken for BV-2)"
    assert second["words"] == "missed: 1 of 3 cells (A172)"
    assert len(image["truth"]) == len(first["found"]) == 3 and len(second["found"]) == 2
    assert image["pixels"].startswith("data:image/jpeg;base64,")
    assert [model["name"] for model in data(page)["models"]] == ["A", "B"]


def test_the_page_loads_nothing(page):
    addresses = set(re.findall(r"https?://[^\"' ]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name space, never loaded
    assert not re.search(r"<script[^>]*src|<link|@import|url\(", page)


def test_the_outline_of_a_square_has_its_four_corners():
    path = outline_path(PLACES[0]["segmentation"], (100, 100))
    assert path == "M10.5 10.5L10.5 19.5L19.5 19.5L19.5 10.5Z"


def test_a_missing_image_is_named(paths):
    folder, found = paths
    with pytest.raises(DeepMuCSError, match="000000.png: not a readable image"):
        write_gallery(folder, {"A": match_files(folder, found)}, {"A": 0}, folder / "page.html")
    assert not (folder / "page.html").exists()
