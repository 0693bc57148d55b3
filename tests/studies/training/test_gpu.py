"""Each piece of what a GPU must show runs, here on the CPU, with a tiny network."""

import pytest
import torch
from detectron2.structures import Boxes, Instances

from deepmucs_utils.cli import main
from deepmucs_utils.files import read_json
from deepmucs_utils.segmentation.run_files import load
from deepmucs_utils.segmentation.samples import CoCultureSet
from deepmucs_utils.studies import registry
from deepmucs_utils.studies.training import gpu
from tests.tiny import tiny_config, write_set


@pytest.fixture
def device(tmp_path, monkeypatch):
    """A machine that says that it has a GPU; one tiny network in the place of the large ones."""

    def config(model, categories, iterations=4, batch=None):
        cfg = tiny_config(iterations)
        cfg.DATALOADER.NUM_WORKERS = 0
        return cfg

    small = {"ITERATIONS": 2, "PERIOD": 1, "STEPS": 1, "WARM": 1, "COMPARED": 1, "BATCHES": (2,)}
    for name, value in small.items():
        monkeypatch.setattr(gpu, name, value)
    monkeypatch.setattr(gpu, "NETWORKS", ("resnest50",))
    monkeypatch.setattr(gpu, "PREPARED", {"contiguous": gpu.PREPARED["contiguous"]})
    discs = CoCultureSet(write_set(tmp_path / "discs", images=2))
    monkeypatch.setattr(gpu, "_set", lambda *_: discs)
    monkeypatch.setattr(gpu, "training_config", config)
    monkeypatch.setattr(gpu, "_has_gpu", lambda: True)
    monkeypatch.setattr(gpu, "result_file", lambda name: tmp_path / f"{name}.json")
    monkeypatch.setenv("DEEPMUCS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_without_a_gpu_one_sentence_says_so(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "_has_gpu", lambda: False)
    assert main(["gpu"]) == 2
    assert "no GPU that torch can use" in capsys.readouterr().err
    assert "gpu" not in registry.missing()


@pytest.mark.slow
def test_every_piece_runs_and_gives_numbers(device):
    found = read_json(gpu.measure())
    assert found["study"] == "gpu" and found["command"] == "make gpu"
    result = found["result"]
    assert list(result) == list(gpu.pieces())
    assert result["sets"]["train"] == 2
    step = result["steps of paper, bfloat16"]
    assert step["steps per second"] > 0 and 0 < step["share of the loader"] < 1
    assert step["images"] == 2 and {"GiB", "seconds", "commit", "gpu"} < set(step)
    assert set(result["resnest50, 2 iterations"]) > {"loss", "AP", "AP50", "images per second"}
    assert load(device / "cache" / "studies" / "gpu" / "resnest50" / "last.pth")["iteration"] == 2
    assert result["resnest50, prediction"]["images per second"] > 0
    parity = result["resnest50, detections in bfloat16 and float32"]
    assert 0 < parity["pairs"] <= parity["float32"] and 0.9 < parity["box IoU"]["median"] <= 1
    same = result["resnest50, detections in TF32 and float32"]  # the CPU knows no TF32
    assert same["pairs"] == same["float32"] and same["score difference"]["worst 1 %"] == 0
    assert torch.backends.cuda.matmul.allow_tf32


def test_a_piece_that_is_done_is_not_repeated(device, monkeypatch):
    done = []

    def piece(name):
        def run(folder):
            if name == "two" and done == ["one"]:
                done.append("stopped")
                raise KeyboardInterrupt
            done.append(name)
            return {"value": name}

        return run

    monkeypatch.setattr(gpu, "pieces", lambda: {name: piece(name) for name in ("one", "two")})
    with pytest.raises(KeyboardInterrupt):
        gpu.measure()
    assert list(read_json(device / "gpu.json")["result"]) == ["one"]
    gpu.measure()
    gpu.measure()
    assert done == ["one", "stopped", "two"]
    gpu.measure(again=True)
    assert done == ["one", "stopped", "two", "one", "two"]


def test_memory_that_ends_is_a_result(device, monkeypatch):
    def forward(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr("detectron2.modeling.GeneralizedRCNN.forward", forward)
    found = gpu.steps("paper", 16, device)
    assert found["images"] == 16 and "out of memory with 2 images" in found["stopped"]


def test_detections_of_one_class_that_overlap_most_belong_together():
    one, other = Instances((50, 50)), Instances((50, 50))
    one.pred_boxes = Boxes([[0, 0, 10, 10], [20, 20, 30, 30], [40, 40, 50, 50]])
    other.pred_boxes = Boxes([[40, 40, 50, 50], [0, 0, 10, 8], [0, 0, 10, 9], [20, 20, 22, 22]])
    one.pred_classes, other.pred_classes = torch.tensor([1, 1, 1]), torch.tensor([2, 1, 1, 1])
    overlap, first, second = gpu.pairs(one, other)
    assert overlap.tolist() == pytest.approx([0.9])
    assert (first.tolist(), second.tolist()) == ([0], [2])
