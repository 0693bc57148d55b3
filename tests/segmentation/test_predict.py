import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from hotcoco import mask as coco_mask

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.matching import match_files
from deepmucs_utils.evaluation.metrics import evaluate
from deepmucs_utils.segmentation.predict import draw, load_model, predict, to_records
from deepmucs_utils.segmentation.run_files import write_config
from deepmucs_utils.segmentation.samples import CoCultureSet
from deepmucs_utils.segmentation.trainer import Trainer
from tests.tiny import SIZE, tiny_config, write_set


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("sets") / "tiny")


@pytest.fixture(scope="module")
def a_run(tiny_set, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    cfg = tiny_config(2)
    write_config(cfg, out)
    source = CoCultureSet(tiny_set)
    Trainer(cfg, source, source, out).run()
    return out


def test_a_sets_ids_are_kept_and_the_file_can_be_evaluated(a_run, tiny_set, tmp_path):
    path = predict(a_run, tiny_set, tmp_path)
    assert path == tmp_path / "predictions.json" and not (tmp_path / "images.json").exists()
    records = json.loads(path.read_text())
    assert {record["image_id"] for record in records} <= set(range(6))
    assert {record["category_id"] for record in records} <= set(range(1, 9))
    assert evaluate(match_files(tiny_set, path))["n_images"] == 6


def test_the_same_run_predicts_the_same(a_run, tiny_set, tmp_path):
    one, two = (predict(a_run, tiny_set, tmp_path / name).read_bytes() for name in "ab")
    assert one == two


def test_images_outside_a_set_are_numbered_and_drawn_on(a_run, tiny_set, tmp_path):
    folder = tiny_set / "images"
    predict(a_run, [folder, folder / "000002.png"], tmp_path, overlays=True)
    listing = json.loads((tmp_path / "images.json").read_text())
    assert [entry["id"] for entry in listing] == [1, 2, 3, 4, 5, 6, 7]
    assert listing[6]["file_name"].endswith("000002.png")
    overlay = cv2.imread(str(tmp_path / "overlays" / "000000.png"))
    assert overlay.shape == (SIZE, SIZE, 3)


def two_cells():
    found = Instances((10, 12))
    found.pred_boxes = Boxes(torch.tensor([[1.0, 2.0, 5.0, 6.0], [0.0, 0.0, 1.0, 1.0]]))
    found.scores = torch.tensor([0.75, 0.6])
    found.pred_classes = torch.tensor([3, 0])
    found.pred_masks = torch.zeros(2, 10, 12, dtype=torch.bool)
    found.pred_masks[0, 2:6, 1:5] = True
    return found


def test_a_record_holds_box_category_score_and_mask_and_empty_masks_are_left_out():
    (record,) = to_records(two_cells(), 7, tiny_config())
    assert (record["image_id"], record["category_id"], record["score"]) == (7, 4, 0.75)
    assert record["bbox"] == [1.0, 2.0, 4.0, 4.0]
    assert np.array_equal(coco_mask.decode(record["segmentation"]), two_cells().pred_masks[0])


def test_outlines_have_the_cultures_colour_and_only_those_scored_enough_are_drawn():
    image = np.full((10, 12), 128, np.uint8)
    found = two_cells()
    canvas = draw(image, found, tiny_config())
    assert canvas[2, 1].tolist() == [0x42, 0xE4, 0xF0]  # Huh7's #F0E442, blue first
    assert canvas[3, 2].tolist() == [128, 128, 128]
    found.scores -= 0.3
    assert (draw(image, found, tiny_config()) == 128).all()


@pytest.mark.parametrize(
    "images, sentence",
    [
        ("nowhere.png", "no such file or folder"),
        ("empty", "holds no image; expected .png, .tif, .tiff"),
        ("text.png", "not a readable image"),
    ],
)
def test_what_cannot_be_predicted_is_named(a_run, tmp_path, images, sentence):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DeepMuCSError, match=sentence):
        predict(a_run, tmp_path / images, tmp_path / "out")
    assert not (tmp_path / "out" / "predictions.json").exists()


def test_a_run_without_weights_is_refused(a_run, tmp_path):
    shutil.copy(a_run / "config.yaml", tmp_path)
    with pytest.raises(DeepMuCSError, match="holds no weights yet"):
        load_model(tmp_path)
