"""What only a GPU can show of the large networks: `make gpu`, or `deepmucs gpu`.

It is measured in pieces of a few minutes each: steps on images of LIVECell's size, trainings on the
demo set, both composed from the phantom. Each piece is added to ``book/measured/gpu.json`` when it
is done, and not repeated. A training resumes from its checkpoint in the cache, so the command may
be stopped at any time and called again.
"""

import shutil
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch

from deepmucs_utils import segmentation  # noqa: F401  (first: it quiets detectron2)

# isort: split
from detectron2.structures import pairwise_iou
from detectron2.utils.events import EventStorage

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.matching import match_files
from deepmucs_utils.evaluation.metrics import evaluate
from deepmucs_utils.files import read_json, write_json
from deepmucs_utils.segmentation.predict import detect, load_model, predict_files
from deepmucs_utils.segmentation.run_files import read_curves, write_config
from deepmucs_utils.segmentation.samples import CoCultureSet, batches
from deepmucs_utils.segmentation.trainer import Trainer
from deepmucs_utils.segmentation.training import training_config
from deepmucs_utils.studies.registry import document, result_file
from deepmucs_utils.workflow import params, runs
from deepmucs_utils.workflow.environment import environment

NETWORKS = ("resnest50", "paper")
BATCHES = (8, 16, 32)  # images a step whose speed is measured; the first in all precisions
IMAGES = 64  # of LIVECell's size, to make steps on
ITERATIONS, PERIOD = 1000, 100  # of a training; of one of its pieces
STEPS, WARM = 20, 5  # that are timed, and before them
COMPARED = 20  # images whose detections are compared
#: Without AMP a training multiplies in TF32, with it in bfloat16; float32 is what both approximate.
PRECISIONS = ("float32", "TF32", "bfloat16")
PREPARED = {
    "contiguous": lambda network: network.to(memory_format=torch.contiguous_format),
    "compiled backbone": lambda network: network.backbone.bottom_up.net.compile(),
}


def measure(again: bool = False) -> Path:
    """Measure what is missing.

    Parameters
    ----------
    again : bool
        Measure everything anew.

    Returns
    -------
    Path
        ``book/measured/gpu.json``, see `registry.read_study`; its ``result`` has what each of the
        `pieces` gives, with its ``seconds``, ``commit`` and ``gpu``.

    Raises
    ------
    DeepMuCSError
        If there is no GPU.
    """
    if not _has_gpu():
        raise DeepMuCSError(
            "no GPU that torch can use was found here, and only one can show what `make gpu` "
            "measures; call it on a machine that has one."
        )
    path, folder = result_file("gpu"), params.cache() / "studies" / "gpu"
    with runs.alone(folder):
        if again:
            shutil.rmtree(folder, ignore_errors=True)
            path.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        found = read_json(path)["result"] if path.is_file() else {}
        for name, piece in pieces().items():
            if name not in found:
                print(name, flush=True)
                begun = time.monotonic()
                values, machine = piece(folder), environment()
                facts = {"commit": machine["commit"], "gpu": machine["gpu"]}
                found[name] = values | {"seconds": time.monotonic() - begun} | facts
                seconds = sum(one["seconds"] for one in found.values())
                write_json(path, document("gpu", "make gpu", (0,), seconds, found))
    return path


def pieces() -> dict:
    """What is measured, in this order: functions of the folder of the state, by name."""
    found = {"sets": _sets}
    for precision in PRECISIONS:
        name = f"steps of paper, {precision}"
        found[name] = partial(steps, "paper", BATCHES[0], precision=precision)
    for model in NETWORKS:
        for end in range(PERIOD, ITERATIONS + 1, PERIOD):
            found[f"{model}, {end} iterations"] = partial(train_to, model, end)
        found[f"{model}, prediction"] = partial(predict_test, model)
        for precision in PRECISIONS[1:]:
            name = f"{model}, detections in {precision} and float32"
            found[name] = partial(compare, model, precision)
    for batch in BATCHES[1:]:
        found[f"steps of paper, {batch} images"] = partial(steps, "paper", batch)
    for name in PREPARED:
        found[f"steps of paper, {name}"] = partial(steps, "paper", BATCHES[0], prepare=name)
    return found


def _has_gpu():
    return torch.cuda.is_available()


def _set(folder, split, name="Demo200", n_images=None):
    p = params.check(set_name=name, n_images=n_images, out_dir=folder)
    return CoCultureSet(runs.compose(p, split))


def _large(folder):
    return _set(folder, "train", "DeepMuCS800", IMAGES)


def _sets(folder):
    """Number of images of the sets, which are composed, and the phantom before them."""
    demo = {split: len(_set(folder, split)) for split in ("train", "val", "test")}
    return demo | {"LIVECell's size": len(_large(folder))}


@contextmanager
def _products(precision):
    """Matrix products in TF32, as everywhere here, or for the precision float32 in float32."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    matmul.allow_tf32 = cudnn.allow_tf32 = precision != "float32"
    try:
        yield
    finally:
        matmul.allow_tf32 = cudnn.allow_tf32 = True


def steps(model, batch, folder, precision="bfloat16", prepare=None) -> dict:
    """Speed and memory of training steps.

    Parameters
    ----------
    model : str
    batch : int
        Images a step.
    folder : Path
    precision : str
        One of `PRECISIONS`.
    prepare : str, optional
        What is done to the network before: a key of `PREPARED`. A training on a GPU has
        channels_last otherwise.

    Returns
    -------
    dict
        ``images``, ``steps per second``, ``images per second``, ``share of the loader`` (of the
        time, 0 to 1: what the step waits for its images) and ``GiB`` (largest memory); or
        ``stopped``, the sentence that says that memory was exhausted.
    """
    source = _large(folder)
    cfg = training_config(model, source.categories, batch=batch)
    cfg.SOLVER.AMP.ENABLED = precision == "bfloat16"
    with TemporaryDirectory(dir=folder) as out:
        trainer = Trainer(cfg, source, source, Path(out))
    if prepare:
        PREPARED[prepare](trainer.network)
    loader, rows = batches(trainer.samples, cfg, start=0), []
    _forget_peak()
    try:
        with EventStorage(0), _products(precision):
            for _ in range(WARM + STEPS):
                begun = time.perf_counter()
                images = next(loader)
                loaded = time.perf_counter()
                trainer.step(images)
                _wait()
                rows.append((loaded - begun, time.perf_counter() - begun))
    except DeepMuCSError as error:
        return {"images": batch, "stopped": str(error)}
    loading, whole = np.sum(rows[WARM:], axis=0)
    return {
        "images": batch,
        "steps per second": STEPS / whole,
        "images per second": STEPS * batch / whole,
        "share of the loader": loading / whole,
        "GiB": torch.cuda.max_memory_allocated() / 2**30,
    }


def _forget_peak():
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _wait():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def train_to(model, end, folder) -> dict:
    """Train on the demo set from random weights, on from where the last piece ended.

    Parameters
    ----------
    model : str
    end : int
        Iteration at which the piece ends, with a validation.
    folder : Path

    Returns
    -------
    dict
        ``loss``, ``AP`` and ``AP50`` of the masks on the validation set (percent), and
        ``images per second`` (median of the piece).
    """
    source, validation = (_set(folder, split) for split in ("train", "val"))
    cfg = training_config(model, source.categories, ITERATIONS)
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.CHECKPOINT_PERIOD = end, PERIOD // 4 or 1
    cfg.TEST.EVAL_PERIOD = ITERATIONS  # so that a piece is validated at its end alone
    run = folder / model
    run.mkdir(exist_ok=True)
    write_config(cfg, run)
    Trainer(cfg, source, validation, run).run()
    curves = read_curves(run)
    last = curves.loc[end]
    return {
        "loss": last["total_loss"],
        "AP": last["val_segm_AP"],
        "AP50": last["val_segm_AP50"],
        "images per second": curves["images_per_second"].tail(PERIOD).median(),
    }


def predict_test(model, folder) -> dict:
    """Predict the demo's test set with the weights that were best in validation.

    Returns
    -------
    dict
        ``images``; ``images per second``, from reading to run lengths; ``AP`` and ``AP50`` of the
        masks, percent.
    """
    images, out = _set(folder, "test"), folder / model / "predictions.json"
    cfg, network = load_model(folder / model)
    detect(network, cfg, images.read(0)[0])
    begun = time.perf_counter()
    predict_files(network, cfg, images.paths(), out)
    seconds = time.perf_counter() - begun
    metrics = evaluate(match_files(images.folder, out))["segm"]
    found = {"images": len(images), "images per second": len(images) / seconds}
    return found | {key: metrics[key] for key in ("AP", "AP50")}


def compare(model, precision, folder) -> dict:
    """Detections in another precision beside those in float32, of the same weights.

    Two belong together if they have one class, and each is the one that overlaps the other most,
    with an IoU of the boxes of at least 0.5.

    Returns
    -------
    dict
        ``float32`` and ``precision``: number of detections; ``pairs``; ``box IoU`` and
        ``score difference`` (absolute) of the pairs: each its ``median``, and the ``worst 1 %``.
    """
    images = _set(folder, "test")
    cfg, network = load_model(folder / model)
    counts, overlaps, differences = np.zeros(2, int), [], []
    for index in range(min(COMPARED, len(images))):
        image = images.read(index)[0]
        with _products("float32"):
            plain = detect(network, cfg, image)
        mixed = precision == "bfloat16"
        with _products(precision), torch.autocast(cfg.MODEL.DEVICE, torch.bfloat16, mixed):
            other = detect(network, cfg, image)
        counts += len(plain), len(other)
        if len(plain) and len(other):
            overlap, one, two = pairs(plain, other)
            overlaps += overlap.tolist()
            differences += (plain.scores[one] - other.scores[two]).abs().tolist()
    overlaps, differences = pd.Series(overlaps, dtype=float), pd.Series(differences, dtype=float)
    return {
        "float32": counts[0],
        precision: counts[1],
        "pairs": len(overlaps),
        "box IoU": {"median": overlaps.median(), "worst 1 %": overlaps.quantile(0.01)},
        "score difference": {
            "median": differences.median(),
            "worst 1 %": differences.quantile(0.99),
        },
    }


def pairs(one, other):
    """Which detections of an image belong together, see `compare`.

    Parameters
    ----------
    one, other : Instances
        From `predict.detect`; not empty.

    Returns
    -------
    overlap : Tensor of float, shape (n,)
        IoU of the boxes.
    first, second : Tensor of int, shape (n,)
        Their numbers in ``one`` and in ``other``.
    """
    overlap = pairwise_iou(one.pred_boxes, other.pred_boxes)
    overlap = overlap * (one.pred_classes[:, None] == other.pred_classes)
    best, second = overlap.max(dim=1)
    first = torch.arange(len(one))
    mutual = (overlap.argmax(dim=0)[second] == first) & (best >= 0.5)
    return best[mutual], first[mutual], second[mutual]
