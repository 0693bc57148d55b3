import json
import math
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from detectron2.engine import launch
from detectron2.utils import comm
from detectron2.utils.events import EventStorage

from deepmucs_utils.data.cultures import CATEGORIES
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.segmentation.launch import Launch
from deepmucs_utils.segmentation.muon import Muon
from deepmucs_utils.segmentation.run_files import load, read_config, read_curves, save
from deepmucs_utils.segmentation.samples import CoCultureSet, batches
from deepmucs_utils.segmentation.trainer import OFFSETS_RATE, Trainer, learning_rate, optimizers
from deepmucs_utils.segmentation.training import train, training_config
from tests.tiny import tiny_config, write_set


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("sets") / "tiny")


@pytest.fixture(scope="module")
def whole_run(tiny_set, tmp_path_factory):
    """A training of six iterations without interruption."""
    return run(tiny_config(6), tiny_set, tmp_path_factory.mktemp("runs") / "whole")


def trainer(cfg, folder, out):
    out.mkdir(parents=True, exist_ok=True)
    return Trainer(cfg, CoCultureSet(folder), CoCultureSet(folder), out)


def run(cfg, folder, out):
    trainer(cfg, folder, out).run()
    return out


def train_small(folder, out, iterations=1, batch=2, seed=0, resume=False, processes=1, val=None):
    """`train` on the sets in two folders."""
    source, validation = CoCultureSet(folder), CoCultureSet(val or folder)
    cfg = training_config("small", source.categories, iterations, seed, batch)
    return train(cfg, source, validation, out, resume, Launch(processes))


def same_weights(one, other):
    one, other = load(one)["model"], load(other)["model"]
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


class Killed(Exception):
    pass


def interrupted(cfg, folder, out, monkeypatch, iteration):
    """A training that ends with an error after so many iterations, and is resumed."""
    step = Trainer.step

    def stop(self, batch):
        if self.iteration == iteration:
            raise Killed
        return step(self, batch)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Trainer, "step", stop)
        run(cfg, folder, out)
    return run(cfg, folder, out)


@pytest.mark.parametrize("iteration", [1, 2, 5])
def test_an_interrupted_training_resumes_to_the_same_weights(
    tiny_set, whole_run, tmp_path, monkeypatch, iteration
):
    interrupted(tiny_config(6), tiny_set, tmp_path, monkeypatch, iteration)
    for name in ("last.pth", "best.pth"):
        assert same_weights(tmp_path / name, whole_run / name)
    columns = ["lr", "total_loss", "gradient", "val_segm_AP"]
    assert read_curves(tmp_path)[columns].equals(read_curves(whole_run)[columns])


@pytest.mark.slow
def test_a_training_in_parts_resumes_to_the_same_weights(tiny_set, tmp_path, monkeypatch):
    cfg = tiny_config(3, accumulate=2)
    cfg.SOLVER.IMS_PER_BATCH = 4
    whole = run(cfg, tiny_set, tmp_path / "whole")
    parted = interrupted(cfg, tiny_set, tmp_path / "parted", monkeypatch, 2)
    assert same_weights(whole / "last.pth", parted / "last.pth")


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_same_weights(tiny_set, tmp_path):
    command = [sys.executable, "-c", "from deepmucs_utils.cli import main; main()", "train"]
    command += [str(tiny_set), "--val", str(tiny_set), "--iterations", "12", "--batch", "2"]
    subprocess.run([*command, "--out", str(tmp_path / "whole")], check=True)
    process = subprocess.Popen([*command, "--out", str(tmp_path / "killed")])
    curves = tmp_path / "killed" / "curves.jsonl"
    while process.poll() is None and not (curves.is_file() and curves.read_text().count("\n") > 3):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "last.pth").exists()
    subprocess.run([*command, "--out", str(tmp_path / "killed"), "--resume"], check=True)
    assert same_weights(tmp_path / "whole" / "last.pth", tmp_path / "killed" / "last.pth")


def test_the_loss_falls_and_the_curves_say_so(whole_run):
    curves = read_curves(whole_run)
    assert list(curves.index) == [1, 2, 3, 4, 5, 6]
    assert curves["total_loss"].iloc[-1] < curves["total_loss"].iloc[0]
    assert curves["val_segm_AP"].notna().tolist() == [False, True] * 3
    assert list(whole_run.glob("tensorboard/events*"))


def test_the_weights_with_the_best_validation_are_kept(tiny_set, tmp_path, monkeypatch):
    scores = iter([10.0, 30.0, 20.0])

    def evaluate(matched):
        values = dict.fromkeys(("AP", "AP50", "AP75"), next(scores))
        return {"bbox": values, "segm": values}

    monkeypatch.setattr("deepmucs_utils.segmentation.trainer.evaluate", evaluate)
    run(tiny_config(6), tiny_set, tmp_path)
    assert load(tmp_path / "best.pth")["iteration"] == 4
    assert load(tmp_path / "last.pth")["iteration"] == 6
    assert not same_weights(tmp_path / "best.pth", tmp_path / "last.pth")


def test_other_seeds_give_other_weights(tiny_set, whole_run, tmp_path):
    run(tiny_config(6, seed=1), tiny_set, tmp_path)
    assert not same_weights(tmp_path / "last.pth", whole_run / "last.pth")


def test_a_diverging_training_stops_with_iteration_losses_and_images(tiny_set, tmp_path):
    cfg = tiny_config(9)
    cfg.SOLVER.BASE_LR = 1e9
    cfg.SOLVER.WARMUP_ITERS = 0
    with pytest.raises(DeepMuCSError) as found:
        run(cfg, tiny_set, tmp_path)
    sentence = str(found.value)
    assert "iteration" in sentence and "diverged" in sentence
    assert "loss_mask" in sentence and ".png" in sentence and "SOLVER.BASE_LR" in sentence


@pytest.mark.parametrize("factor", [math.inf, math.nan])
def test_a_gradient_without_bounds_reaches_neither_weights_nor_files(tiny_set, tmp_path, factor):
    cfg = tiny_config(3)
    cfg.SOLVER.CHECKPOINT_PERIOD, cfg.TEST.EVAL_PERIOD = 1, 9
    training = trainer(cfg, tiny_set, tmp_path)
    weight = next(training.network.parameters())
    weight.register_hook(lambda gradient: gradient * factor if training.iteration else gradient)
    sentence = "iteration 2: the training diverged; .* gradient (inf|nan); images .*BASE_LR"
    with pytest.raises(DeepMuCSError, match=sentence):
        training.run()
    for state in (training.network.state_dict(), load(tmp_path / "last.pth")["model"]):
        assert all(tensor.isfinite().all() for tensor in state.values())
    assert load(tmp_path / "last.pth")["iteration"] == 1
    assert read_curves(tmp_path).index.tolist() == [1]


def test_when_memory_ends_the_setting_to_lower_is_named(tiny_set, tmp_path, monkeypatch):
    training = trainer(tiny_config(), tiny_set, tmp_path)

    def forward(_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(training.model, "forward", forward)
    with pytest.raises(
        DeepMuCSError, match="out of memory with 2 images of up to 64 × 64 px.*--acc"
    ):
        training.run()


def test_long_gradients_are_shortened_where_the_configuration_says_so(tiny_set, tmp_path):
    lengths = []
    for clip in (1e9, 1e-3, None):
        cfg = tiny_config()
        assert cfg.SOLVER.CLIP_GRADIENTS.ENABLED
        cfg.SOLVER.CLIP_GRADIENTS.ENABLED = clip is not None
        cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = clip or 1e-3
        cfg.SOLVER.WEIGHT_DECAY = 0.0
        training = trainer(cfg, tiny_set, tmp_path / str(clip))
        with EventStorage(0):
            found = training.step(next(batches(training.samples, cfg, 0)))["gradient"]
        grads = [p.grad.norm() for p in training.network.parameters()]
        lengths.append((found, float(torch.stack(grads).norm())))
    assert lengths[0][0] == pytest.approx(lengths[0][1])
    assert lengths[1] == (pytest.approx(lengths[0][0]), pytest.approx(1e-3, rel=1e-3))
    assert lengths[2] == lengths[0]


def test_the_optimiser_itself_clips_nothing_and_other_types_are_refused(tiny_set, tmp_path):
    cfg = training_config("paper", CATEGORIES)
    clip = cfg.SOLVER.CLIP_GRADIENTS
    assert (clip.ENABLED, clip.CLIP_TYPE, clip.CLIP_VALUE) == (True, "full_model", 20)
    assert [type(one) for one in optimizers(cfg, torch.nn.Linear(1, 1))] == [torch.optim.SGD]
    clip.CLIP_TYPE = "value"
    with pytest.raises(DeepMuCSError, match="CLIP_TYPE 'value': unknown here; expected full_model"):
        trainer(cfg, tiny_set, tmp_path)


def _sharing(folder, out, norm, parts=1):
    """One step's losses and gradients, and how many images were seen at once, of process 0."""
    cfg = sharing_config(norm)
    cfg.SOLVER.ACCUMULATE = parts
    training = trainer(cfg, folder, out)
    keys = batches(training.samples, cfg, 0, training.rank, training.processes)
    images = []
    training.network.register_forward_pre_hook(lambda _, batches: images.append(len(*batches)))
    with EventStorage(0):
        training.step(next(keys))
    gradients = {name: p.grad for name, p in training.network.named_parameters()}
    if comm.is_main_process():
        found = {"losses": training.losses, "gradients": gradients, "images": images}
        torch.save(found, out / "step.pth")


def sharing_config(norm):
    cfg = tiny_config(1)
    cfg.SOLVER.IMS_PER_BATCH = 4
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = False
    cfg.MODEL.RESNETS.NORM = cfg.MODEL.FPN.NORM = norm
    cfg.MODEL.ROI_BOX_HEAD.NORM = cfg.MODEL.ROI_MASK_HEAD.NORM = "" if norm == "FrozenBN" else norm
    # Few samples per image, so that every image has as many: detectron2 averages over samples, and
    # a mean of two processes' means is the mean of all only then.
    cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 8
    return cfg


def shared_step(folder, out, norm, processes=1, parts=1):
    """The step of one batch, shared by processes that each take their images in parts."""
    out = out / f"{processes}-{parts}"
    launch(_sharing, processes, dist_url="auto", args=(folder, out, norm, parts))
    return load(out / "step.pth")


def assert_same_step(one, other):
    for name, loss in one["losses"].items():
        assert other["losses"][name] == pytest.approx(loss, rel=1e-5, abs=1e-6)
    assert one["gradients"].keys() == other["gradients"].keys()
    scale = max(float(g.abs().max()) for g in one["gradients"].values())
    for name, gradient in one["gradients"].items():
        assert float((other["gradients"][name] - gradient).abs().max()) < 1e-5 * scale, name


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_makes_the_step_of_the_whole(tiny_set, tmp_path, parts):
    one, other = (shared_step(tiny_set, tmp_path, "FrozenBN", parts=n) for n in (1, parts))
    assert (one["images"], other["images"]) == ([4], [4 // parts] * parts)
    assert_same_step(one, other)


@pytest.mark.slow
def test_two_processes_make_the_step_of_one(tiny_set, tmp_path):
    one = shared_step(tiny_set, tmp_path, "FrozenBN")
    for parts in (1, 2):
        assert_same_step(one, shared_step(tiny_set, tmp_path, "FrozenBN", 2, parts))


@pytest.mark.slow
def test_two_parts_make_the_step_of_two_processes_with_batch_statistics_too(tiny_set, tmp_path):
    assert_same_step(
        shared_step(tiny_set, tmp_path, "BN", parts=2),
        shared_step(tiny_set, tmp_path, "BN", processes=2),
    )


@pytest.mark.slow
def test_with_batch_statistics_the_steps_differ_and_it_says_by_how_much(tiny_set, tmp_path):
    """Each process normalises over its own images; ``pytest -rP`` shows the numbers."""
    one, two = (shared_step(tiny_set, tmp_path, "BN", processes) for processes in (1, 2))
    total = two["losses"]["total_loss"] / one["losses"]["total_loss"] - 1
    whole, shared = (
        torch.cat([g.flatten() for g in step["gradients"].values()]) for step in (one, two)
    )
    apart = float((shared - whole).norm() / whole.norm())
    angle = math.degrees(math.acos(float(torch.cosine_similarity(whole, shared, dim=0))))
    print(f"2 × 2 images against 4: total loss {100 * total:+.2f} %, gradient {100 * apart:.0f} %")
    print(f"apart (length of the difference over its own), at an angle of {angle:.0f} degrees")
    assert apart > 1e-3 and abs(total) < 0.5 and angle < 90


@pytest.mark.slow
def test_two_processes_train_and_leave_one_run(tiny_set, tmp_path):
    train_small(tiny_set, tmp_path / "run", iterations=2, batch=4, processes=2)
    assert load(tmp_path / "run" / "last.pth")["iteration"] == 2
    assert list(read_curves(tmp_path / "run").index) == [1, 2]


def _resuming(folder, out):
    """Two steps, saved; then two more, and the same two by a training that loads what is saved."""
    cfg = sharing_config("BN")
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.MAX_ITER = 6, 4
    whole = trainer(cfg, folder, out)
    keys = list(batches(whole.samples, cfg, 0, whole.rank, whole.processes))
    with EventStorage(0):
        for batch in keys[:2]:
            whole.step(batch)
        if comm.is_main_process():
            states = [one.state_dict() for one in whole.optimizers]
            whole._save("last.pth", optimizers=states, best=0)
        comm.synchronize()
        resumed = trainer(cfg, folder, out)
        for batch in keys[2:]:
            assert whole.step(batch) == resumed.step(batch)
    states = (training.network.state_dict().values() for training in (whole, resumed))
    if comm.is_main_process():  # which alone keeps its running statistics
        assert all(map(torch.equal, *states))


@pytest.mark.slow
def test_three_processes_resume_to_the_same_weights(tiny_set, tmp_path):
    launch(_resuming, 3, dist_url="auto", args=(tiny_set, tmp_path))


@pytest.mark.slow
def test_the_error_of_a_process_is_one_sentence(tiny_set, tmp_path):
    broken = shutil.copytree(tiny_set, tmp_path / "set")
    for path in (broken / "images").iterdir():
        path.write_text("no image")
    with pytest.raises(DeepMuCSError, match="png: not a readable image"):
        train_small(broken, tmp_path / "run", batch=4, processes=2, val=tiny_set)


def test_a_batch_that_processes_cannot_share_is_refused(tiny_set, tmp_path):
    for batch, processes in ((3, 2), (2, 2), (1, 1)):
        with pytest.raises(DeepMuCSError, match=f"batch {batch}: cannot be shared by {processes}"):
            train_small(tiny_set, tmp_path / "run", batch=batch, processes=processes)
    source = CoCultureSet(tiny_set)
    cfg = training_config("small", source.categories, batch=4, accumulate=4)
    with pytest.raises(DeepMuCSError, match="in 4 parts; expected a multiple of 4, at least two"):
        train(cfg, source, source, tmp_path / "run")


def test_a_run_is_not_overwritten(tiny_set, whole_run, tmp_path):
    out = tmp_path / "run"
    train_small(tiny_set, out)
    with pytest.raises(DeepMuCSError, match="holds a run; .* --resume"):
        train_small(tiny_set, out)
    with pytest.raises(DeepMuCSError, match="different: SEED"):
        train_small(tiny_set, out, seed=5, resume=True)
    assert train_small(tiny_set, out, resume=True) == out


def test_a_place_that_cannot_be_a_folder_is_refused(tiny_set, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(DeepMuCSError, match="run: cannot hold a run .File exists.; take another"):
        train_small(tiny_set, tmp_path / "run")


def test_validation_on_other_categories_is_refused(tiny_set, tmp_path):
    other = write_set(tmp_path / "other", categories=CATEGORIES[:2])
    with pytest.raises(DeepMuCSError, match="the validation set has other categories"):
        train_small(tiny_set, tmp_path / "run", val=other)


def test_a_network_for_other_categories_is_refused(tiny_set, tmp_path):
    source, cfg = CoCultureSet(tiny_set), training_config("small", CATEGORIES[:2])
    with pytest.raises(DeepMuCSError, match="the training set .* expected A172, BT474, in this"):
        train(cfg, source, source, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_learning_rate_warms_up_and_falls_in_steps():
    cfg = training_config("paper", CATEGORIES)
    assert learning_rate(cfg, 0) == pytest.approx(0.02 / 1000)
    assert learning_rate(cfg, 500) == pytest.approx(0.02 * (0.001 * 0.5 + 0.5))
    assert [round(learning_rate(cfg, k), 6) for k in (1000, 17499, 17500, 20000, 29999)] == [
        *(0.02, 0.02, 0.002, 0.0002, 0.0002)
    ]


def test_the_cosine_ends_near_zero():
    cfg = training_config("small", CATEGORIES, iterations=100)
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupCosineLR"
    rates = [learning_rate(cfg, k) for k in range(cfg.SOLVER.WARMUP_ITERS, 100)]
    assert rates == sorted(rates, reverse=True)
    half = 0.5 * (1 + math.cos(math.pi * 0.5))
    assert learning_rate(cfg, 50) == pytest.approx(cfg.SOLVER.BASE_LR * half)
    assert rates[-1] < 0.001 * cfg.SOLVER.BASE_LR


@pytest.mark.parametrize("name", ["AdamW", "Muon"])
def test_all_but_the_normalisation_decays(name):
    cfg = training_config("small", CATEGORIES, iterations=100)
    cfg.SOLVER.OPTIMIZER = name
    network = torch.nn.Sequential(torch.nn.Conv2d(16, 16, 3), torch.nn.BatchNorm2d(16))
    found = optimizers(cfg, network)
    assert [type(one) for one in found] == [torch.optim.AdamW] + [Muon] * (name == "Muon")
    groups = [group for one in found for group in one.param_groups]
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert [decay[id(p)] for p in network.parameters()] == [0.1, 0.1, 0, 0]


def test_muon_changes_the_hidden_layers_each_weight_has_one_optimizer(tiny_set, tmp_path):
    training = trainer(tiny_config(), tiny_set, tmp_path)
    names = {id(p): name for name, p in training.network.named_parameters()}
    rest, hidden = (
        [names[id(p)] for group in one.param_groups for p in group["params"]]
        for one in training.optimizers
    )
    assert sorted(rest + hidden) == sorted(names.values())
    assert not any(".offset." in name or "predictor" in name or "norm" in name for name in hidden)
    for part in ("backbone.bottom_up.", "backbone.fpn_output2.", "box_head.2.fc1.", "mask_head."):
        assert any(part in name and name.endswith(".weight") for name in hidden), part


@pytest.mark.parametrize("model", ["small", "paper"])
def test_offsets_of_deformable_convolutions_learn_at_a_tenth_of_the_rate(model, tiny_set, tmp_path):
    cfg = tiny_config()
    cfg.SOLVER.OPTIMIZER = training_config(model, CATEGORIES).SOLVER.OPTIMIZER
    training = trainer(cfg, tiny_set, tmp_path)
    with EventStorage(0):
        training.step(next(batches(training.samples, cfg, 0)))
    names = {id(p): name for name, p in training.network.named_parameters()}
    for group in training.optimizers[0].param_groups:
        for weights in group["params"]:
            share = OFFSETS_RATE if ".offset." in names[id(weights)] else 1.0
            assert group["lr"] == pytest.approx(share * learning_rate(cfg, 0))
    for one in training.optimizers[1:]:
        assert {group["lr"] for group in one.param_groups} == {17 * learning_rate(cfg, 0)}


def test_an_interrupted_training_of_an_earlier_version_is_refused(tiny_set, tmp_path):
    save({"model": {}, "iteration": 1, "best": 0.0, "optimizer": {}}, tmp_path / "last.pth")
    with pytest.raises(DeepMuCSError, match="last.pth: saved by an earlier .* with --weights"):
        trainer(tiny_config(), tiny_set, tmp_path)


def test_a_schedule_is_stretched_and_the_rate_goes_with_the_batch():
    cfg = training_config("paper", CATEGORIES, iterations=3000, batch=8)
    assert cfg.SOLVER.MAX_ITER == 3000 and cfg.SOLVER.STEPS == (1750, 2000)
    assert (cfg.SOLVER.WARMUP_ITERS, cfg.TEST.EVAL_PERIOD) == (100, 100)
    assert (cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.BASE_LR) == (8, 0.01)


def test_a_smaller_batch_sees_as_many_images():
    cfg = training_config("paper", CATEGORIES, batch=2)
    solver = cfg.SOLVER
    assert (solver.MAX_ITER, solver.STEPS) == (240000, (140000, 160000))
    assert (solver.WARMUP_ITERS, solver.BASE_LR) == (8000, 0.0025)
    assert (cfg.TEST.EVAL_PERIOD, solver.CHECKPOINT_PERIOD) == (8000, 8000)


def test_a_batch_in_parts_keeps_rate_and_iterations():
    solver = training_config("paper", CATEGORIES, accumulate=8).SOLVER
    assert (solver.IMS_PER_BATCH, solver.ACCUMULATE) == (16, 8)
    assert (solver.BASE_LR, solver.MAX_ITER) == (0.02, 30000)


def test_the_network_has_the_sets_classes(tiny_set, tmp_path):
    folder = write_set(tmp_path / "set", categories=CATEGORIES[:2])
    train_small(folder, tmp_path / "run")
    cfg = read_config(tmp_path / "run")
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 2
    assert cfg.DATASETS.CATEGORY_NAMES == ["A172", "BT474"]


def test_curves_cut_by_a_kill_are_read_to_their_last_whole_line(whole_run, tmp_path):
    text = (whole_run / "curves.jsonl").read_text()
    (tmp_path / "curves.jsonl").write_text(text + '{"iteration": 7, "to')
    assert list(read_curves(tmp_path).index) == [1, 2, 3, 4, 5, 6]
    with pytest.raises(DeepMuCSError, match="no curves yet"):
        read_curves(tmp_path / "nowhere")


def test_a_run_tells_its_configuration(whole_run, tmp_path):
    with pytest.raises(DeepMuCSError, match="no run, config.yaml is missing"):
        read_config(tmp_path)
    (tmp_path / "config.yaml").write_text("MODEL:\n  NO_SUCH_KEY: 1\n")
    with pytest.raises(DeepMuCSError, match="config.yaml: cannot be read"):
        read_config(tmp_path)


def test_predictions_of_the_validation_are_kept(whole_run):
    records = json.loads((whole_run / "val_predictions.json").read_text())
    assert records and set(records[0]) == {
        *("image_id", "category_id", "bbox", "score", "segmentation")
    }
