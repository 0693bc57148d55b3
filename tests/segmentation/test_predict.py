import json
import shutil

import cv2
import numpy as np
import pycocotools.mask
import pytest
import torch
from detectron2.layers import paste_masks_in_image
from detectron2.structures import Boxes, Instances
from hotcoco import mask as coco_mask
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmucs_utils.data.livecell import read_image
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.matching import match_files
from deepmucs_utils.evaluation.metrics import evaluate
from deepmucs_utils.segmentation.predict import (
    detect,
    draw,
    load_model,
    predict,
    predict_image,
    to_records,
    with_codes,
)
from deepmucs_utils.segmentation.run_files import write_config
from deepmucs_utils.segmentation.samples import CoCultureSet, rescale, to_tensor
from deepmucs_utils.segmentation.trainer import Trainer
from tests.tiny import SIZE, tiny_config, write_set

CFG = tiny_config()


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


def detections(boxes, probabilities, size, scores=None):
    """Detections of class 3, as the network gives them."""
    found = Instances(size)
    found.pred_boxes = Boxes(torch.as_tensor(boxes, dtype=torch.float32))
    found.scores = torch.linspace(1, 0.5, len(boxes)) if scores is None else torch.tensor(scores)
    found.pred_classes = torch.full((len(boxes),), 3)
    found.probabilities = torch.as_tensor(probabilities, dtype=torch.float32)
    return with_codes(found)


def two_cells(scores=(0.75, 0.6)):
    """A square of 4 px and a mask that nowhere reaches a half."""
    boxes = [[1.0, 2.0, 5.0, 6.0], [0.0, 0.0, 1.0, 1.0]]
    probabilities = torch.tensor([1, 0.4])[:, None, None].expand(2, 28, 28)
    return detections(boxes, probabilities, (10, 12), scores)


def test_a_record_holds_box_category_score_and_mask_and_empty_masks_are_left_out():
    (record,) = to_records(two_cells(), 7, CFG)
    assert (record["image_id"], record["category_id"], record["score"]) == (7, 4, 0.75)
    assert record["bbox"] == [1.0, 2.0, 4.0, 4.0]
    square = np.zeros((10, 12), np.uint8)
    square[2:6, 1:5] = 1
    assert np.array_equal(coco_mask.decode(record["segmentation"]), square)


def plain_records(found, image_id, cfg):
    """The records by detectron2's and pycocotools' own ways, with a whole image for each mask."""
    masks = paste_masks_in_image(found.probabilities, found.pred_boxes, found.image_size)
    records = []
    for row, mask in enumerate(masks.numpy()):
        code = pycocotools.mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        x0, y0, x1, y1 = found.pred_boxes.tensor[row].tolist()
        if mask.any():
            records.append(
                {
                    "image_id": image_id,
                    "category_id": cfg.DATASETS.CATEGORY_IDS[found.pred_classes[row]],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "score": found.scores[row].item(),
                    "segmentation": code | {"counts": code["counts"].decode()},
                }
            )
    return records


@given(st.integers(0, 2**32), st.integers(1, 90), st.integers(1, 90))
@settings(max_examples=40, deadline=None)
def test_records_are_those_of_whole_masks(seed, height, width):
    """Of boxes inside the image and along its borders; masks that are noise, full or empty."""
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(-0.2, 1.2, (30, 2, 2)).clip(0, 1), axis=1)
    boxes = (corners * (width, height)).astype(np.float32)
    boxes[::3] = boxes[::3].round()
    boxes = boxes.reshape(-1, 4)[(boxes[:, 1] > boxes[:, 0]).all(1)]
    power = rng.choice([0, 0.5, 1, 9], (len(boxes), 1, 1))
    found = detections(boxes, rng.random((len(boxes), 28, 28)) ** power, (height, width))
    assert to_records(found, 7, CFG) == plain_records(found, 7, CFG)


@pytest.mark.parametrize("side", [0, 48, 101])
def test_a_networks_records_are_those_of_whole_masks_at_any_scale(a_run, tiny_set, side):
    cfg, model = load_model(a_run)
    cfg.INPUT.MIN_SIZE_TEST = side
    image = read_image(tiny_set / "images" / "000001.png")[:50]
    found = detect(model, cfg, image)
    records = to_records(found, 7, cfg)
    assert len(records) > 1 and records == plain_records(found, 7, cfg)
    inputs = {"image": to_tensor(rescale(image, side)[0]), "height": 50, "width": SIZE}
    with torch.no_grad():
        whole = model([inputs])[0]["instances"]
    assert torch.equal(whole.pred_boxes.tensor, found.pred_boxes.tensor)
    assert torch.equal(whole.pred_masks, predict_image(model, cfg, image).pred_masks)


@pytest.mark.parametrize("most", [0, 1, 2])
def test_an_image_may_have_any_number_of_detections(a_run, tiny_set, most):
    cfg, model = load_model(a_run)
    model.roi_heads.limits_area, model.roi_heads.detections = 0, most
    for predictor in model.roi_heads.box_predictor:
        predictor.test_score_thresh = 0.0
    image = read_image(CoCultureSet(tiny_set).path(0))
    assert len(to_records(detect(model, cfg, image), 1, cfg)) <= most
    found = predict_image(model, cfg, image)
    assert len(found) == len(found[found.scores >= 0]) == most


def test_outlines_have_the_cultures_colour_and_only_those_scored_enough_are_drawn():
    image = np.full((10, 12), 128, np.uint8)
    canvas = draw(image, to_records(two_cells(), 7, CFG), CFG)
    assert canvas[2, 1].tolist() == [0x42, 0xE4, 0xF0]  # Huh7's #F0E442, blue first
    assert canvas[3, 2].tolist() == [128, 128, 128]
    unsure = to_records(two_cells(scores=(0.45, 0.3)), 7, CFG)
    assert (draw(image, unsure, CFG) == 128).all()


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


def test_a_loaded_networks_numbers_lie_in_the_order_that_is_fastest(a_run):
    """The transposed convolution of the mask head takes a sixth of the time that it takes else."""
    _, model = load_model(a_run)
    weight = model.roi_heads.mask_head.deconv.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_a_run_without_weights_is_refused(a_run, tmp_path):
    shutil.copy(a_run / "config.yaml", tmp_path)
    with pytest.raises(DeepMuCSError, match="holds no weights yet"):
        load_model(tmp_path)
