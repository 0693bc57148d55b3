import json

import cv2
import numpy as np
import pandas as pd
import pytest

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.recipes import get_recipe
from deepmucs_utils.generation.sets import compose_set
from deepmucs_utils.studies.realism.culture_leaks import guess_cultures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(root, some, tmp_path_factory):
    folder = tmp_path_factory.mktemp("leaks")
    recipe = get_recipe("Demo40", cultures=some, n_images=40)
    return compose_set(root, folder / "set", recipe, jobs=1, cache=folder / "cache")


def test_nothing_outside_the_mattes_tells_the_culture(made):
    found = guess_cultures(made, permutations=19)
    assert found["accuracy"] <= found["null_high"] + 0.05 and found["n"] > 100


def test_a_leak_is_found(made, tmp_path):
    """Noise that surrounds the cells of one culture must be found."""
    coco = json.loads((made / "annotations.json").read_text())
    (tmp_path / "images").mkdir()
    for name in ("annotations.json", "provenance.parquet"):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    rng = np.random.default_rng(0)
    provenance = pd.read_parquet(made / "provenance.parquet")
    culture = provenance.set_index("annotation_id")["culture"]
    for entry in coco["images"]:
        image = cv2.imread(str(made / "images" / entry["file_name"]), cv2.IMREAD_GRAYSCALE)
        for cell in coco["annotations"]:
            if cell["image_id"] == entry["id"] and culture[cell["id"]] == "A172":
                x, y, w, h = map(int, cell["bbox"])
                part = image[max(y - 20, 0) : y + h + 20, max(x - 20, 0) : x + w + 20]
                part[:] = np.rint(part + rng.normal(0, 4, part.shape)).clip(0, 255)
        cv2.imwrite(str(tmp_path / "images" / entry["file_name"]), image)
    found = guess_cultures(tmp_path, permutations=19)
    assert found["accuracy"] > found["null_high"]


def test_a_set_with_one_background_or_culture_is_refused(made, tmp_path):
    for name in ("annotations.json", "provenance.parquet"):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    table = pd.read_parquet(tmp_path / "provenance.parquet").assign(background="one.tif")
    table.to_parquet(tmp_path / "provenance.parquet")
    with pytest.raises(DeepMuCSError, match="at least two backgrounds"):
        guess_cultures(tmp_path)
