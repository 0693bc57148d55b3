import itertools
import json
import shutil
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.segmentation.samples import (
    CoCultureSet,
    Samples,
    batches,
    repeat_factors,
    rescale,
)
from tests.tiny import SIZE, tiny_config, write_set


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("sets") / "tiny")


def plain(batch):
    """What of a batch can be compared."""
    return [
        (
            sample["name"],
            sample["seed"],
            sample["image"].numpy().tobytes(),
            sample["instances"].gt_masks.tensor.numpy().tobytes(),
            sample["instances"].gt_classes.tolist(),
        )
        for sample in batch
    ]


def test_an_image_comes_with_its_masks_and_classes(tiny_set):
    image, masks, classes = CoCultureSet(tiny_set).read(0)
    assert image.shape == (SIZE, SIZE) and masks.shape == (3, SIZE, SIZE)
    for mask, number in zip(masks, classes, strict=True):
        assert (image[mask].mean() > 128) == (number == 1)


def test_boxes_are_those_of_the_masks(tiny_set):
    source = CoCultureSet(tiny_set)
    for box, mask in zip(source.boxes(0), source.read(0)[1], strict=True):
        y, x = np.nonzero(mask)
        assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_samples_are_the_same_for_any_number_of_workers(tiny_set):
    found = []
    for workers in (0, 2):
        cfg = tiny_config(5)
        cfg.DATALOADER.NUM_WORKERS = workers
        samples = Samples(CoCultureSet(tiny_set), cfg, seed=3)
        found.append([plain(batch) for batch in batches(samples, cfg, start=0)])
    assert len(found[0]) == 5 and found[0] == found[1]


def test_samples_from_the_middle_are_those_of_the_whole(tiny_set):
    cfg = tiny_config(5)
    samples = Samples(CoCultureSet(tiny_set), cfg, seed=3)
    whole = [plain(batch) for batch in batches(samples, cfg, start=0)]
    assert [plain(batch) for batch in batches(samples, cfg, start=3)] == whole[3:]


def test_two_processes_share_the_samples_of_one(tiny_set):
    cfg = tiny_config(3)
    samples = Samples(CoCultureSet(tiny_set), cfg, seed=3)
    one = [plain(batch) for batch in batches(samples, cfg, 0)]
    halves = [[plain(batch) for batch in batches(samples, cfg, 0, rank, 2)] for rank in (0, 1)]
    for whole, first, second in zip(one, *halves, strict=True):
        assert whole == first + second


def test_each_epoch_has_every_image_once_in_another_order(tiny_set):
    samples = Samples(CoCultureSet(tiny_set), tiny_config(), seed=0)
    samples.loader.SAMPLER_TRAIN = "TrainingSampler"
    keys = list(itertools.islice(samples.keys(), 18))
    epochs = [[index for epoch, index in keys if epoch == number] for number in range(3)]
    assert all(sorted(order) == list(range(6)) for order in epochs)
    assert epochs[0] != epochs[1]
    other = Samples(CoCultureSet(tiny_set), tiny_config(), seed=1)
    assert keys != list(itertools.islice(other.keys(), 18))
    assert keys[7:] == list(itertools.islice(samples.keys(7), 11))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_epoch_is_planned_once_and_not_before_its_time(tiny_set, workers):
    cfg = tiny_config(9)  # 18 samples: three epochs
    cfg.DATALOADER.NUM_WORKERS = workers
    samples = Samples(CoCultureSet(tiny_set), cfg, seed=0)
    planned = []
    order = samples.order
    samples.order = lambda epoch: planned.append(epoch) or order(epoch)
    loader = batches(samples, cfg, start=0)
    next(loader)
    assert planned == [0]
    assert len(list(loader)) == 8
    assert planned == [0, 1, 2]


def test_an_image_is_repeated_for_its_rarest_class():
    classes = [{0}, {0}, {0}, {0, 1}]
    assert repeat_factors(classes, 1.0, root=False).tolist() == [1, 1, 1, 4]
    assert repeat_factors(classes, 1.0).tolist() == [1, 1, 1, 2]
    assert repeat_factors(classes, 0.25, root=False).tolist() == [1, 1, 1, 1]


@given(seed=st.integers(0, 999), counts=st.lists(st.integers(1, 9), min_size=2, max_size=9))
def test_repeated_images_come_as_often_as_their_factor_says(seed, counts):
    """Up or down to a whole number, and the epoch stays as long as the set."""
    classes = [{number} for number, count in enumerate(counts) for _ in range(count)]
    cfg = tiny_config()
    cfg.DATALOADER.SAMPLER_TRAIN = "RepeatFactorTrainingSampler"
    cfg.DATALOADER.REPEAT_THRESHOLD = 1.0
    source = mock.MagicMock(classes=lambda epoch: classes)
    source.__len__.return_value = len(classes)
    samples = Samples(source, cfg, seed)
    found = np.bincount(samples.order(3), minlength=len(classes))
    factors = repeat_factors(classes, 1.0)
    expected = factors / factors.sum() * len(classes)
    assert found.sum() == len(classes)
    assert (found >= np.floor(expected - 1e-9)).all() and (found <= np.ceil(expected + 1e-9)).all()


def test_a_crop_may_follow_a_cell_of_a_class_drawn_from_the_image(tmp_path):
    source = CoCultureSet(write_set(tmp_path / "set", images=1))
    cfg = tiny_config()
    cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = "cell", [20, 20]
    cells = [Samples(source, cfg, 0)[epoch, 0]["instances"] for epoch in range(30)]
    assert min(len(found) for found in cells) == 1


def test_of_the_windows_around_a_cell_the_fullest_is_taken(tmp_path, monkeypatch):
    source = CoCultureSet(write_set(tmp_path / "set", images=6))
    cfg = tiny_config()
    cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = "cell", [40, 40]
    samples, cells = Samples(source, cfg, 0), {}
    for tried in (1, 4):
        monkeypatch.setattr("deepmucs_utils.segmentation.samples.WINDOWS_TRIED", tried)
        drawn = [samples[epoch, k]["instances"] for epoch in range(10) for k in range(6)]
        cells[tried] = np.mean([len(found) for found in drawn])
    assert cells[4] > 1.2 * cells[1]


def test_masks_turn_and_are_cut_with_their_image(tiny_set):
    cfg = tiny_config()
    cfg.INPUT.CROP.SIZE = [40, 48]
    samples = Samples(CoCultureSet(tiny_set), cfg, seed=0)
    shapes = set()
    for epoch in range(20):
        sample = samples[epoch, 0]
        pixels = sample["image"][0]
        cells = sample["instances"]
        shapes.add(tuple(pixels.shape))
        for mask, number in zip(cells.gt_masks.tensor, cells.gt_classes.tolist(), strict=True):
            assert (pixels[mask].mean() > 128) == (number == 1)
        assert torch.equal(sample["image"][0], sample["image"][2])
    assert shapes == {(40, 48), (48, 40)}


def test_the_eight_symmetries_all_occur(tiny_set):
    cfg = tiny_config()
    samples = Samples(CoCultureSet(tiny_set), cfg, seed=0)
    assert len({samples[epoch, 0]["image"].numpy().tobytes() for epoch in range(60)}) == 8


def test_little_of_a_cell_at_a_crops_edge_is_not_trained_on(tmp_path):
    source = CoCultureSet(write_set(tmp_path / "set", images=1))
    cfg = tiny_config()
    cfg.INPUT.CROP.SIZE = [20, 20]
    areas = source.read(0)[1].sum((1, 2))
    seen = [Samples(source, cfg, 0)[epoch, 0]["instances"] for epoch in range(30)]
    kept = [mask.sum() for cells in seen for mask in cells.gt_masks.tensor]
    assert kept and min(kept) >= 0.25 * areas.min()


def test_masks_are_scaled_with_their_image_and_zero_keeps_the_size():
    image = np.zeros((20, 30), np.uint8)
    masks = np.zeros((1, 20, 30), bool)
    masks[0, 5:15, 5:25] = True
    scaled, bigger = rescale(image, 2 * 520, masks)
    assert scaled.shape == (40, 60) and bigger.shape == (1, 40, 60)
    assert bigger.sum() == 4 * masks.sum()
    assert rescale(image, 0, masks)[0] is image


@pytest.mark.parametrize("side", [440, 480, 520, 560, 580, 620])
def test_a_window_is_seen_at_the_scale_of_the_whole_image(side):
    whole = np.random.default_rng(0).integers(0, 256, (520, 704), np.uint8)
    scaled, _ = rescale(whole, side)
    assert scaled.shape == (side, round(704 * side / 520))
    assert np.array_equal(scaled, cv2.resize(whole, scaled.shape[::-1]))
    for window in ((256, 352), (352, 256), (1040, 1408)):
        seen, _ = rescale(np.zeros(window, np.uint8), side)
        assert seen.shape == tuple(round(length * side / 520) for length in window)


def test_a_folder_that_is_no_set_is_refused(tmp_path):
    with pytest.raises(DeepMuCSError, match="no co-culture set, annotations.json is missing"):
        CoCultureSet(tmp_path)


def test_a_set_without_cells_is_refused(tiny_set, tmp_path):
    content = json.loads((tiny_set / "annotations.json").read_text()) | {"annotations": []}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(DeepMuCSError, match="holds no cells"):
        CoCultureSet(tmp_path)


@pytest.mark.parametrize("fault", ["missing", "text", "other size"])
def test_a_bad_image_is_named(tiny_set, tmp_path, fault):
    folder = shutil.copytree(tiny_set, tmp_path / "set")
    path = folder / "images" / "000001.png"
    path.unlink()
    if fault == "text":
        path.write_text("no image")
    if fault == "other size":
        cv2.imwrite(str(path), np.zeros((10, 12), np.uint8))
    with pytest.raises(DeepMuCSError, match="000001.png: (not a readable image|found 10 × 12 px)"):
        CoCultureSet(folder).read(1)
