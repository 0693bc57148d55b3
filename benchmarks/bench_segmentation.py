"""Time of a training step and of a prediction, by part; deformable convolution before and after.

All of ``small``; `make gpu` measures the large networks. The data are a phantom's co-cultures on
the demo canvas. Times are medians with the quartiles of the single steps, in rounds there and
back again, so that a machine that grows slower meanwhile does not favour one of the variants.
"""

from deepmucs_utils import segmentation  # noqa: F401  (first: it quiets what detectron2 sets off)

# isort: split
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import pandas as pd
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torchvision.ops import deform_conv2d

from deepmucs_utils.data.cultures import CATEGORIES
from deepmucs_utils.generation.endless import EndlessSet
from deepmucs_utils.generation.recipes import get_recipe
from deepmucs_utils.generation.sets import compose_set
from deepmucs_utils.phantom.write import write_phantom
from deepmucs_utils.segmentation import resnest
from deepmucs_utils.segmentation.predict import detect, to_records
from deepmucs_utils.segmentation.samples import CoCultureSet, Samples, batches
from deepmucs_utils.segmentation.trainer import Trainer
from deepmucs_utils.segmentation.training import training_config

STEPS, WARM, ROUNDS = 4, 2, 4
CPU = "CPU of the process"  # ms, without the loaders'


def run():
    """Print the tables."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder) / "root", Path(folder) / "cache"
        write_phantom(root, images=2, jobs=1)
        recipe = get_recipe("Demo40", n_images=24)
        composed = compose_set(root, Path(folder) / "set", recipe, jobs=1, cache=cache)
        fixed = CoCultureSet(composed)
        endless = EndlessSet(composed, root, cache)
        _table("Deformable convolution of `small`, forward and backward, ms", deformable())
        cfg = training_config("small", CATEGORIES)
        height, width = cfg.INPUT.CROP.SIZE
        rows = variants(fixed, endless, folder)
        title = f"`small`, {cfg.SOLVER.IMS_PER_BATCH} crops of {height} × {width} px a step"
        _table(f"{title}: ms of the parts", parts(rows))
        _table(f"{title}: share of the parts, %", shares(rows))
        _table(f"{title}: ms of {ROUNDS * STEPS} steps", spread(rows))
        _table("One sample, ms", loading(fixed, endless))
        _table("A prediction of `small`, ms per image", prediction(fixed))


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


def variants(fixed, endless, folder):
    """Steps of ``small`` before and after, and on both kinds of set without and with a loader.

    A loader is a process of its own that makes the next batches during the step.
    """

    def workers(number):
        def change(cfg):
            cfg.DATALOADER.NUM_WORKERS = number

        return change

    order = [("torchvision's gradient", fixed, 0, before)]
    for name, source in (("fixed set", fixed), ("endless", endless)):
        for number in (0, 1):
            order.append((f"sampling, {name}, {number} loaders", source, number, nullcontext))
    rows = {name: [] for name, *_ in order}
    for _ in range(ROUNDS):
        for name, source, number, context in order:
            with context():
                rows[name] += training_steps(source, folder, change=workers(number))
        order.reverse()
    return {name: pd.DataFrame(steps) for name, steps in rows.items()}


def parts(rows):
    """Medians of the parts of a step, ms; the backward pass of all losses counts as one part."""
    return pd.DataFrame({name: steps.median() for name, steps in rows.items()}).T.drop(columns=CPU)


def shares(rows):
    """Mean share of the parts in a step, percent; they sum to 100."""
    means = pd.DataFrame({name: steps.mean() for name, steps in rows.items()}).T
    return 100 * means.drop(columns=["step", CPU]).div(means["step"], axis=0)


def spread(rows):
    """Quartiles of a step, ms, and images per second at the median."""
    steps = pd.DataFrame({name: steps["step"] for name, steps in rows.items()})
    table = steps.quantile([0.25, 0.5, 0.75]).T.set_axis(
        ["lower quartile", "median", "upper quartile"], axis=1
    )
    batch = training_config("small", CATEGORIES).SOLVER.IMS_PER_BATCH
    table["images per second"] = 1000 * batch / steps.median()
    table[CPU] = [part[CPU].median() for part in rows.values()]
    return table


def training_steps(source, folder, change):
    """Times of single steps by part, ms; list of dict."""
    cfg = training_config("small", CATEGORIES)
    change(cfg)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        training = Trainer(cfg, source, source, Path(out))
    clock = Clock(training.network)
    loader = batches(training.samples, cfg, start=0)
    rows = []
    with EventStorage(0):
        for number in range(WARM + STEPS):
            clock.seconds.clear()
            begun, worked = time.perf_counter(), time.process_time()
            batch = next(loader)
            loaded = time.perf_counter()
            training.step(batch)
            _wait()
            ended, worked = time.perf_counter(), time.process_time() - worked
            step = {"loading": 1000 * (loaded - begun)} | clock.table(1)
            step["backward and update"] = 1000 * (ended - begun) - sum(step.values())
            step["step"], step[CPU] = 1000 * (ended - begun), 1000 * worked
            if number >= WARM:
                rows.append(step)
    return rows


def loading(fixed, endless):
    """Time of one sample from the disk and from the bank, and its share of an epoch's plan."""
    cfg = training_config("small", CATEGORIES)
    rows = {}
    for name, source in (("fixed set", fixed), ("endless", endless)):
        samples = Samples(source, cfg, seed=0)
        keys = iter([(epoch, index) for epoch in range(2) for index in range(len(source))])
        rows[name] = {"sample": _median(lambda s=samples, k=keys: s[next(k)], repeats=30)}
        epochs = iter(range(2, 20))
        rows[name]["plan"] = _median(lambda s=source, e=epochs: s.classes(next(e))) / len(source)
    return pd.DataFrame(rows).T


def prediction(source):
    """Time of a prediction by part, with the network as it starts."""
    cfg = training_config("small", CATEGORIES)
    torch.manual_seed(0)
    network = build_model(cfg).eval()
    image, _, _ = source.read(0)
    detect(network, cfg, image)
    clock = Clock(network)
    begun = time.perf_counter()
    for _ in range(STEPS):
        found = detect(network, cfg, image)
        _wait()
    ended = time.perf_counter()
    for _ in range(STEPS):
        to_records(found, 0, cfg)
    ms = clock.table(STEPS)
    whole = 1000 * (ended - begun) / STEPS
    ms["the rest"] = whole - sum(ms.values())
    ms["masks to run lengths"] = 1000 * (time.perf_counter() - ended) / STEPS
    ms["together"] = whole + ms["masks to run lengths"]
    return pd.DataFrame({f"{len(found)} detections": ms}).T
