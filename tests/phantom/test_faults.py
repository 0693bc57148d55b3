import json
from collections import Counter

import numpy as np
import pytest

from deepmucs_utils.data.faults import check_root
from deepmucs_utils.data.livecell import SPLITS
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.phantom.faults import FEW, spoil_cells
from deepmucs_utils.phantom.write import write_phantom

SQUARE = np.array([[0.0, 0.0], [20.0, 0.0], [20.0, 20.0], [0.0, 20.0]])


def coco(root, split):
    return json.loads((root / f"annotations/LIVECell/livecell_coco_{split}.json").read_text())


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp("faults") / "root"
    return write_phantom(
        out,
        images=3,
        cultures=["SkBr3"],
        density=2,
        size=(200, 240),
        seed=0,  # the densest image is the one with few annotations
        jobs=1,
        faulty_images=1,
    )


def test_cells_are_unannotated_or_annotated_twice_at_the_stated_rates():
    polygons = [SQUARE + 30 * i for i in range(20000)]
    kept, faults = spoil_cells(polygons, np.random.default_rng(0))
    kinds = Counter(fault["kind"] for fault in faults)
    assert kinds["unannotated cells"] == pytest.approx(200, abs=50)
    assert kinds["double contour"] == pytest.approx(40, abs=25)
    assert len(kept) == len(polygons) - kinds["unannotated cells"] + kinds["double contour"]


def test_every_listed_fault_of_a_cell_is_in_the_annotations(tmp_path):
    root = write_phantom(tmp_path / "root", images=1, cultures=["BV2", "MCF7"], seed=0, jobs=1)
    faults = json.loads((root / "faults.json").read_text())
    assert {fault["kind"] for fault in faults} == {"unannotated cells", "double contour"}
    polygons = {
        (cell["image_id"], tuple(cell["segmentation"][0]))
        for split in SPLITS
        for cell in coco(root, split)["annotations"]
    }
    for fault in faults:
        listed = (fault["image_id"], tuple(fault["polygon"])) in polygons
        assert listed == (fault["kind"] == "double contour")


def test_faulty_images_are_those_that_the_list_names(root):
    faults = json.loads((root / "faults.json").read_text())
    by_kind = {fault["kind"]: fault for fault in faults if "polygon" not in fault}
    assert set(by_kind) == {"few annotated", "duplicate image", "overlap of splits"}
    train, val = coco(root, "train"), coco(root, "val")
    names = Counter(image["file_name"] for image in train["images"])
    assert names[by_kind["duplicate image"]["file_name"]] == 2
    shared = set(names) & {image["file_name"] for image in val["images"]}
    assert shared == {by_kind["overlap of splits"]["file_name"]}
    cells = Counter(cell["image_id"] for cell in train["annotations"])
    assert FEW[0] <= cells[by_kind["few annotated"]["image_id"]] <= FEW[1]


def test_ids_stay_unique(root):
    ids = [
        entry["id"]
        for split in SPLITS
        for part in ("images", "annotations")
        for entry in coco(root, split)[part]
    ]
    assert len(set(ids)) == len(ids)


def test_the_check_of_a_root_finds_the_faulty_images(root, tmp_path):
    found = set(check_root(root, tmp_path, jobs=1)["kind"])
    assert {"duplicate image", "overlap of splits", "unannotated cells"} <= found


def test_more_faulty_images_than_a_third_of_the_split_is_one_sentence(tmp_path):
    with pytest.raises(DeepMuCSError, match="faulty_images 1: expected 0 to a third"):
        write_phantom(tmp_path / "root", images=1, cultures=["BV2"], faulty_images=1)
