"""Training (paper, section V): SGD on a co-culture set, validated on another as it goes.

An iteration depends on the run's seed and its number alone, so a training that was interrupted
goes on to the weights it would have had, on the CPU bit for bit.
"""

import bisect
import math
import time
from pathlib import Path

import torch
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer
from detectron2.utils.events import EventStorage
from torch import nn
from tqdm import tqdm

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.metrics import evaluate
from deepmucs_utils.segmentation.checkpoints import (
    BEST,
    CONFIG,
    LAST,
    differences,
    load,
    read_config,
    save,
    write_config,
)
from deepmucs_utils.segmentation.config import get_config
from deepmucs_utils.segmentation.curves import Curves
from deepmucs_utils.segmentation.predict import predict_set
from deepmucs_utils.segmentation.samples import CoCultureSet, Samples, batches
from deepmucs_utils.segmentation.sampling import set_image_seeds


def train(set_dir, val_dir, out, model="small", iterations=None, seed=0, resume=False):
    """Train a model.

    Parameters
    ----------
    set_dir, val_dir : path-like
        Co-culture sets to train on and to validate on.
    out : path-like
        Folder of the run.
    model : {"small", "resnest50", "paper"}
    iterations : int, optional
        Default is the configuration's; its schedule is stretched to another number.
    seed : int
    resume : bool
        Go on with what is in ``out``; begin where there is nothing.

    Returns
    -------
    Path
        ``out``, with ``config.yaml``, ``last.pth`` (the state to go on from), ``best.pth`` (the
        weights with the best validation AP), ``curves.jsonl`` and TensorBoard files.

    Raises
    ------
    DeepMuCSError
        If a set cannot be read, ``out`` holds another run, or the training diverges.
    """
    out = Path(out)
    source, validation = CoCultureSet(set_dir), CoCultureSet(val_dir)
    if source.categories != validation.categories:
        raise DeepMuCSError(
            f"{val_dir}: has other categories than {set_dir}; validate on a set of the same kind."
        )
    cfg = training_config(model, source.categories, iterations, seed)
    _open_run(cfg, out, resume)
    Training(cfg, source, validation, out).run()
    return out


def training_config(model, categories, iterations=None, seed=0):
    """The configuration of a training: a named one, fitted to a set and a number of iterations.

    Warm-up, steps and periods keep their share of the training.
    """
    cfg = get_config(model)
    cfg.SEED = seed
    cfg.DATASETS.CATEGORY_IDS = [category["id"] for category in categories]
    cfg.DATASETS.CATEGORY_NAMES = [category["name"] for category in categories]
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(categories)
    if iterations is not None:
        share = iterations / cfg.SOLVER.MAX_ITER
        cfg.SOLVER.MAX_ITER = iterations
        cfg.SOLVER.STEPS = tuple(math.ceil(step * share) for step in cfg.SOLVER.STEPS)
        cfg.SOLVER.WARMUP_ITERS = math.ceil(cfg.SOLVER.WARMUP_ITERS * share)
        cfg.TEST.EVAL_PERIOD = math.ceil(cfg.TEST.EVAL_PERIOD * share)
    return cfg


def learning_rate(cfg, iteration):
    """The learning rate of an iteration, counted from 0.

    It rises linearly in the warm-up. ``WarmupMultiStepLR`` then multiplies it by ``GAMMA`` at each
    of the ``STEPS``; ``WarmupCosineLR`` takes it to zero along half a cosine.
    """
    solver = cfg.SOLVER
    rate = solver.BASE_LR
    if solver.LR_SCHEDULER_NAME == "WarmupCosineLR":
        rate *= 0.5 * (1 + math.cos(math.pi * iteration / solver.MAX_ITER))
    else:
        rate *= solver.GAMMA ** bisect.bisect_right(solver.STEPS, iteration)
    if iteration < solver.WARMUP_ITERS:
        done = iteration / solver.WARMUP_ITERS
        rate *= solver.WARMUP_FACTOR * (1 - done) + done
    return rate


def _open_run(cfg, out, resume):
    """Make the run's folder, or see that what is in it is this very run."""
    if (out / CONFIG).is_file():
        if not resume:
            raise DeepMuCSError(
                f"{out}: holds a run; take another folder, or go on with it with --resume."
            )
        different = differences(read_config(out), cfg)
        if different:
            raise DeepMuCSError(
                f"{out}: holds a run with another configuration (different: "
                f"{', '.join(different)}); take another folder or remove this one."
            )
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_config(cfg, out)


class Training:
    """A training under way.

    Parameters
    ----------
    cfg : CfgNode
    source, validation : CoCultureSet
    out : Path
        Folder of the run; a ``last.pth`` in it is gone on from.
    """

    def __init__(self, cfg, source, validation, out):
        self.cfg, self.validation, self.out = cfg, validation, out
        torch.manual_seed(cfg.SEED)
        self.model = build_model(cfg)
        self.optimizer = build_optimizer(cfg, self.model)
        self.iteration, self.best = 0, -1.0
        if (out / LAST).is_file():
            self._restore(load(out / LAST))
        self.samples = Samples(source, cfg, cfg.SEED)

    def run(self):
        """Train to the end."""
        solver = self.cfg.SOLVER
        if self.iteration == solver.MAX_ITER:
            return
        curves = Curves(self.out, self.iteration)
        bar = tqdm(
            total=solver.MAX_ITER * solver.IMS_PER_BATCH,
            initial=self.iteration * solver.IMS_PER_BATCH,
            desc="training",
            unit="image",
            disable=None,
        )
        with EventStorage(self.iteration), bar:
            for batch in batches(self.samples, self.cfg, self.iteration):
                begun = time.perf_counter()
                losses = self.step(batch)
                seconds = time.perf_counter() - begun
                rate = self.optimizer.param_groups[0]["lr"]
                speed = len(batch) / seconds
                curves.add(self.iteration, lr=rate, images_per_second=speed, **losses)
                bar.update(len(batch))
                bar.set_postfix(loss=f"{losses['total_loss']:.3f}")
                last = self.iteration == solver.MAX_ITER
                if last or self.iteration % self.cfg.TEST.EVAL_PERIOD == 0:
                    curves.add(self.iteration, **self._validate())
                if last or self.iteration % solver.CHECKPOINT_PERIOD == 0:
                    save(self._state(), self.out / LAST)
        curves.close()

    def step(self, batch):
        """One iteration of gradient descent.

        Parameters
        ----------
        batch : list of dict
            From `samples.batches`.

        Returns
        -------
        dict of str to float
            The losses by name, ``total_loss``, and ``gradient``, the length of the gradient of all
            weights before it was clipped.
        """
        self.model.train()
        set_image_seeds(self.model, [sample["seed"] for sample in batch])
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.cfg, self.iteration)
        losses = self.model(batch)
        total = sum(losses.values())
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        values["total_loss"] = float(total.detach())
        if not math.isfinite(values["total_loss"]):
            raise self._diverged(values, batch)
        self.optimizer.zero_grad()
        total.backward()
        clip = self.cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE
        values["gradient"] = float(nn.utils.clip_grad_norm_(self.model.parameters(), clip))
        self.optimizer.step()
        self.iteration += 1
        return values

    def _diverged(self, values, batch):
        found = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        names = ", ".join(sample["name"] for sample in batch)
        return DeepMuCSError(
            f"iteration {self.iteration + 1}: the losses are no longer numbers ({found}) on "
            f"{names}; take a lower SOLVER.BASE_LR, or look at these images."
        )

    def _validate(self):
        """AP on the validation set; the weights are kept when it is the best so far."""
        predictions = self.out / "val_predictions.json"
        predict_set(self.model, self.cfg, self.validation, predictions)
        metrics = evaluate(self.validation.folder / "annotations.json", predictions)
        if metrics["segm"]["AP"] > self.best:
            self.best = metrics["segm"]["AP"]
            save({"model": self.model.state_dict(), "iteration": self.iteration}, self.out / BEST)
        return {
            f"val_{task}_{key}": metrics[task][key]
            for task in ("segm", "bbox")
            for key in ("AP", "AP50", "AP75")
        }

    def _state(self):
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration,
            "best": self.best,
        }

    def _restore(self, state):
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.iteration, self.best = state["iteration"], state["best"]
