import json
import shutil
from collections import Counter

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from deepmucs_utils.cli import main
from deepmucs_utils.data.faults import KINDS, check_root, describe, unannotated_radius
from deepmucs_utils.errors import DeepMuCSError

SIZE = (200, 240)
A, B, C = (f"A172_Phase_{well}_1_00d20h00m_1.tif" for well in ("C7", "C8", "D1"))


def noise(seed):
    field = gaussian_filter1d(np.random.default_rng(seed).normal(size=SIZE), 0.6, axis=0)
    return 128 + 1.3 * field / field.std()


def picture(seed, *boxes):
    """Camera noise with textured boxes ``(y0, x0, y1, x1)``, the size of cells."""
    image, rng = noise(seed), np.random.default_rng(seed + 100)
    for y0, x0, y1, x1 in boxes:
        image[y0:y1, x0:x1] += rng.normal(0, 12, (y1 - y0, x1 - x0))
    return np.rint(image).clip(0, 255).astype(np.uint8)


def cell(number, image_id, y0, x0, y1, x1):
    corners = [x0, y0, x1, y0, x1, y1, x0, y1]
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "area": abs(y1 - y0) * abs(x1 - x0),
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "segmentation": [corners],
    }


class Root:
    """A root that is assembled fault by fault."""

    def __init__(self, path):
        self.path = path
        self.images = {"train": [], "val": []}
        self.cells = {"train": [], "val": []}
        self.add("train", A, picture(0, (40, 40, 80, 80)), (40, 40, 80, 80))
        self.add("val", B, picture(1, (40, 40, 80, 80)), (40, 40, 80, 80))

    def add(self, split, name, image, *boxes):
        entry = {"id": 10 + sum(map(len, self.images.values())), "file_name": name}
        self.images[split].append(entry | {"height": SIZE[0], "width": SIZE[1]})
        for box in boxes:
            number = 1 + sum(map(len, self.cells.values()))
            self.cells[split].append(cell(number, entry["id"], *box))
        if image is not None:
            folder = self.path / "images"
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / name), image)

    def faults(self):
        for split, images in self.images.items():
            folder = self.path / "annotations" / "LIVECell"
            folder.mkdir(parents=True, exist_ok=True)
            coco = {"images": images, "annotations": self.cells[split]}
            (folder / f"livecell_coco_{split}.json").write_text(json.dumps(coco))
        return check_root(self.path, self.path.with_name("cache"), jobs=1)

    def kinds(self):
        return Counter(self.faults()["kind"])


@pytest.fixture()
def root(tmp_path):
    return Root(tmp_path / "root")


def test_a_root_without_faults_has_none(root):
    assert root.kinds() == {}
    assert describe(root.faults()) == "no faults"


def test_missing_extra_damaged_and_misfitting_images_are_named(root):
    root.add("train", C, None, (40, 40, 80, 80))
    cv2.imwrite(str(root.path / "images" / B.replace("C8", "E1")), picture(2))
    (root.path / "images" / A).write_bytes(b"II*")
    cv2.imwrite(str(root.path / "images" / B), picture(3)[:100])
    faults = root.faults().set_index("kind")
    assert faults.loc["missing image", "file_name"] == C
    assert faults.loc["extra image", "file_name"] == B.replace("C8", "E1")
    assert faults.loc["unreadable image", "file_name"] == A
    assert "100 × 240 px, annotated as 200 × 240 px" in faults.loc["wrong size", "detail"]
    assert len(faults) == 4


def test_duplicates_are_found_by_their_pixels(root):
    root.add("train", C, picture(0, (40, 40, 80, 80)), (40, 40, 80, 80))
    faults = root.faults().set_index("kind")
    assert faults.loc["duplicate image", "file_name"] == C
    assert faults.loc["duplicate image", "detail"] == f"the pixels of {A}"


def test_an_image_listed_with_two_ids_is_a_duplicate(root):
    root.images["train"].append(root.images["train"][0] | {"id": 99})
    assert root.kinds() == {"duplicate image": 1}
    assert "ids 10, 99" in root.faults()["detail"][0]


def test_splits_that_share_pixels_or_wells_are_named(root):
    root.add("val", A.replace("20h", "21h"), picture(0, (40, 40, 80, 80)), (40, 40, 80, 80))
    faults = root.faults().set_index("kind")
    assert "also in train" in faults.loc["overlap of splits", "detail"]
    assert faults.loc["well in two splits", "detail"] == "A172, well C7"
    assert len(faults) == 2


def test_faulty_contours_are_found_and_named_by_their_annotations(root):
    image_id = root.images["train"][0]["id"]
    boxes = [(40, 41, 80, 81), (41, 40, 80, 80), (195, 100, 205, 140), (100, 100, 103, 104)]
    root.cells["train"] += [cell(50 + n, image_id, *box) for n, box in enumerate(boxes)]
    line = cell(60, image_id, 10, 10, 10, 10)
    line["segmentation"] = [[10, 10, 20, 20, 10, 10]]
    root.cells["train"].append(line)
    faults = root.faults()
    found = sorted(zip(faults["kind"], faults["annotation_id"], strict=True))
    assert found == [
        ("degenerate polygon", 60),
        ("double contour", 50),
        ("double contour", 51),
        ("implausible area", 53),
        ("polygon outside", 52),
    ]


def test_run_lengths_and_crowds_are_not_faults(root):
    cells = root.cells["train"]
    cells[0]["segmentation"] = {"size": [*SIZE], "counts": [40 * 200 + 40, *[40, 160] * 39, 40]}
    cells.append(cell(50, cells[0]["image_id"], 10, 10, 190, 190) | {"iscrowd": 1})
    assert root.kinds() == {}


def test_an_unannotated_cell_is_found_by_its_structure(root):
    root.add("train", C, picture(5, (40, 40, 80, 80), (120, 140, 155, 180)), (40, 40, 80, 80))
    assert root.kinds() == {"unannotated cells": 1}
    assert root.faults()["file_name"][0] == C


def test_debris_is_not_an_unannotated_cell():
    image = picture(6, (50, 50, 56, 55), (120, 30, 124, 40), (60, 160, 72, 164))
    assert unannotated_radius(image, np.zeros(SIZE, bool)) < 12


def test_the_command_prints_json_and_exits_with_1_only_for_faults(root, tmp_path, capsys):
    root.faults()
    command = ["check", str(root.path), "--json", "--jobs", "1", "--cache", str(tmp_path / "cache")]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out) == []
    (root.path / "images" / A).unlink()
    assert main(command) == 1
    (fault,) = json.loads(capsys.readouterr().out)
    assert fault["kind"] == "missing image" and fault["file_name"] == A
    command.remove("--json")
    assert main(command) == 1
    assert f"missing image: 1 ({KINDS['missing image']})" in capsys.readouterr().out


def test_a_root_without_annotations_is_an_error(root, tmp_path):
    root.faults()
    shutil.rmtree(root.path / "annotations" / "LIVECell")
    with pytest.raises(DeepMuCSError, match="livecell_coco_train.json: no such file; expected"):
        check_root(root.path, tmp_path / "cache")
