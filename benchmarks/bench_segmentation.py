"""Time of a training step and of a prediction, by part; deformable convolution before and after.

``small`` on the CPU, always; ``paper`` where there is a GPU. The data are a phantom's co-cultures
on the demo canvas.
"""

import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pandas as pd
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torchvision.ops import deform_conv2d

from deepmucs_utils.data.cultures import CATEGORIES
from deepmucs_utils.data.phantom import write_phantom
from deepmucs_utils.generation.subsets import compose_set
from deepmucs_utils.segmentation import resnest
from deepmucs_utils.segmentation.endless import EndlessSet
from deepmucs_utils.segmentation.predict import predict_image, to_records
from deepmucs_utils.segmentation.samples import CoCultureSet, Samples, batches
from deepmucs_utils.segmentation.trainer import Trainer
from deepmucs_utils.segmentation.training import training_config

STEPS, WARM = 6, 2


def run():
    """Print the tables."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder) / "root", Path(folder) / "cache"
        write_phantom(root, images=2, jobs=1)
        composed = compose_set(root, Path(folder) / "set", "Demo40", n_images=24, jobs=1,
                               cache=cache)  # fmt: skip
        fixed = CoCultureSet(composed)
        endless = EndlessSet(composed, root, cache)
        _table("Deformable convolution of `small`, forward and backward, ms", deformable())
        with before():
            rows = {"torchvision's gradient": training_step(fixed, folder)}
        rows["sampling (now)"] = training_step(fixed, folder)
        rows["sampling, endless co-cultures"] = training_step(endless, folder)
        _table("A training step of `small`, ms", pd.DataFrame(rows).T)
        _table("Loading one sample, ms", loading(fixed, endless))
        _table("A prediction of `small`, ms an image", prediction(fixed))
        if torch.cuda.is_available():
            _table("A training step of `paper` on the GPU", on_gpu(fixed, folder))
        else:
            print("`paper` on a GPU: not measured, there is none.")


def _table(title, table):
    print(title)
    print(table.round(1).to_string(), "\n")


@contextmanager
def before():
    """torchvision's own gradient on the CPU."""

    def theirs(x, displacement, modulation, weight, dilation):
        return deform_conv2d(
            x, displacement, weight, padding=dilation, dilation=dilation, mask=modulation
        )

    with mock.patch.object(resnest, "_deform_conv2d_on_cpu", theirs):
        yield


def deformable():
    """Time of the three deformable convolutions by stage, torchvision's and ours."""
    rows = {}
    for stage, channels, side in (("res3", 64, 32), ("res4", 96, 16), ("res5", 128, 8)):
        conv = resnest.DeformableConv2d(
            torch.nn.Conv2d(channels, 2 * channels, 3, padding=1, groups=2, bias=False), 2
        )
        x = torch.randn(4, channels, side, side, requires_grad=True)
        rows[stage] = {"sampling": _median(lambda c=conv, x=x: c(x).square().sum().backward())}
        with before():
            rows[stage]["torchvision"] = _median(lambda c=conv, x=x: c(x).square().sum().backward())
    return pd.DataFrame(rows).T[["torchvision", "sampling"]]


def _median(function, repeats=7):
    times = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        function()
        times.append(time.perf_counter() - begun)
    return 1000 * statistics.median(times[1:])


class Clock:
    """Adds up the time that parts of a network take in their forward pass."""

    def __init__(self, network):
        self.seconds = defaultdict(float)
        heads = network.roi_heads
        self.time("backbone", network.backbone.bottom_up)
        self.time("backbone and FPN", network.backbone)
        self.time("proposals", network.proposal_generator)
        self.time("heads", heads)
        self.time("masks", heads.mask_head)

    def time(self, name, module):
        forward = module.forward

        def timed(*args, **kwargs):
            begun = time.perf_counter()
            out = forward(*args, **kwargs)
            _wait()
            self.seconds[name] += time.perf_counter() - begun
            return out

        module.forward = timed

    def table(self, repeats):
        """Parts that do not overlap, ms."""
        ms = {name: 1000 * seconds / repeats for name, seconds in self.seconds.items()}
        ms["FPN"] = ms.pop("backbone and FPN") - ms["backbone"]
        ms["box heads"] = ms.pop("heads") - ms["masks"]
        return ms


def _wait():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def training_step(source, folder, model="small", change=lambda cfg: None):
    """Time of a step by part; each loss' backward pass counts as one part."""
    cfg = training_config(model, CATEGORIES)
    change(cfg)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        training = Trainer(cfg, source, source, Path(out))
    clock = Clock(training.network)
    loader = batches(training.samples, cfg, start=0)
    loading = total = 0.0
    with EventStorage(0):
        for number in range(WARM + STEPS):
            if number == WARM:
                clock.seconds.clear()
                loading = total = 0.0
            begun = time.perf_counter()
            batch = next(loader)
            loaded = time.perf_counter()
            training.step(batch)
            _wait()
            loading += loaded - begun
            total += time.perf_counter() - begun
    ms = {"loading": 1000 * loading / STEPS} | clock.table(STEPS)
    step = 1000 * total / STEPS
    ms["backward and update"] = step - sum(ms.values())
    return ms | {"step": step, "images a second": 1000 * cfg.SOLVER.IMS_PER_BATCH / step}


def loading(fixed, endless):
    """Time of one sample from the disk and from the bank."""
    cfg = training_config("small", CATEGORIES)
    rows = {}
    for name, source in (("fixed set", fixed), ("endless", endless)):
        samples = Samples(source, cfg, seed=0)
        keys = iter([(epoch, index) for epoch in range(2) for index in range(len(source))])
        rows[name] = {"median": _median(lambda s=samples, k=keys: s[next(k)], repeats=30)}
    return pd.DataFrame(rows).T


def prediction(source):
    """Time of a prediction by part, with the network as it starts."""
    cfg = training_config("small", CATEGORIES)
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    image, _, _ = source.read(0)
    predict_image(model, cfg, image)
    clock = Clock(model)
    begun = time.perf_counter()
    for _ in range(STEPS):
        found = predict_image(model, cfg, image)
        _wait()
    ended = time.perf_counter()
    for _ in range(STEPS):
        to_records(found, 0, cfg)
    ms = clock.table(STEPS)
    whole = 1000 * (ended - begun) / STEPS
    ms["masks to pixels, and the rest"] = whole - sum(ms.values())
    ms["run lengths"] = 1000 * (time.perf_counter() - ended) / STEPS
    ms["together"] = whole + ms["run lengths"]
    return pd.DataFrame({f"{len(found)} detections": ms}).T


def on_gpu(source, folder):
    """Steps of ``paper`` in single and mixed precision, with the largest memory in GiB."""
    rows = {}
    for mixed in (False, True):
        for batch in (4, 8, 16):

            def change(cfg, mixed=mixed, batch=batch):
                cfg.SOLVER.AMP.ENABLED, cfg.SOLVER.IMS_PER_BATCH = mixed, batch

            torch.cuda.reset_peak_memory_stats()
            name = f"{'bf16' if mixed else 'fp32'}, {batch} images"
            rows[name] = training_step(source, folder, "paper", change)
            rows[name]["GiB"] = torch.cuda.max_memory_allocated() / 2**30
    return pd.DataFrame(rows).T
