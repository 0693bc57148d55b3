"""One training under way: its steps, its validations, and what is kept of them.

An iteration depends on the run's seed and its number alone, so a training that was interrupted
goes on to the weights it would have had, on the CPU bit for bit.
"""

import bisect
import json
import math
import time

import torch
import torch.distributed
from detectron2.engine.defaults import create_ddp_model
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer
from detectron2.solver.build import get_default_optimizer_params
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import nn
from tqdm import tqdm

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.matching import match_files
from deepmucs_utils.evaluation.metrics import evaluate
from deepmucs_utils.files import write_text
from deepmucs_utils.segmentation.predict import predict_set
from deepmucs_utils.segmentation.run_files import BEST, LAST, Curves, load, save
from deepmucs_utils.segmentation.samples import Samples, batches
from deepmucs_utils.segmentation.seeded_heads import set_image_seeds
from deepmucs_utils.segmentation.weights import REPORT, load_into, read_tensors


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


def _adamw(cfg, network):
    """AdamW (Loshchilov and Hutter 2019), without decay of the normalisation's weights."""
    solver = cfg.SOLVER
    groups = get_default_optimizer_params(
        network, solver.BASE_LR, solver.WEIGHT_DECAY, weight_decay_norm=0.0
    )
    return torch.optim.AdamW(groups, lr=solver.BASE_LR, betas=(solver.MOMENTUM, 0.99))


OPTIMIZERS = {"SGD": build_optimizer, "AdamW": _adamw}


class Trainer:
    """A training under way; with several processes, this process' part of it.

    Several processes make the step that one makes with the same images, if normalisation is frozen.
    With batch statistics each process normalises over its own images, unless it is SyncBN, which
    needs GPUs; by how much the step differs is in ``book/measured/two_processes.txt``.

    Parameters
    ----------
    cfg : CfgNode
        From `training.training_config`.
    source : CoCultureSet or EndlessSet
        What to train on.
    validation : CoCultureSet
    out : Path
        Folder of the run; a ``last.pth`` in it is gone on from.

    Attributes
    ----------
    iteration : int
        Iterations done.
    """

    def __init__(self, cfg, source, validation, out):
        self.cfg, self.validation, self.out = cfg, validation, out
        self.rank, self.processes = comm.get_rank(), comm.get_world_size()
        self.on_gpu = cfg.MODEL.DEVICE == "cuda"
        torch.manual_seed(cfg.SEED)
        self.network = build_model(cfg)
        if self.on_gpu:
            self.network.to(memory_format=torch.channels_last)
        self.optimizer = OPTIMIZERS[cfg.SOLVER.OPTIMIZER](cfg, self.network)
        self.iteration, self.best, self.losses = 0, -1.0, {}
        if (out / LAST).is_file():
            self._restore(load(out / LAST))
        elif cfg.MODEL.WEIGHTS:
            self._start_from(cfg.MODEL.WEIGHTS)
        devices = [comm.get_local_rank()] if self.on_gpu else None
        self.model = create_ddp_model(self.network, device_ids=devices, broadcast_buffers=False)
        self.samples = Samples(source, cfg, cfg.SEED)

    def run(self):
        """Train to the end."""
        solver = self.cfg.SOLVER
        if self.iteration == solver.MAX_ITER:
            return
        writes = self.rank == 0
        curves = Curves(self.out, self.iteration) if writes else None
        bar = tqdm(
            total=solver.MAX_ITER * solver.IMS_PER_BATCH,
            initial=self.iteration * solver.IMS_PER_BATCH,
            desc="training",
            unit="image",
            disable=None if writes else True,
        )
        loader = batches(self.samples, self.cfg, self.iteration, self.rank, self.processes)
        with EventStorage(self.iteration), bar:
            begun = time.perf_counter()
            for batch in loader:
                losses = self.step(batch)
                ended = time.perf_counter()
                last = self.iteration == solver.MAX_ITER
                if writes:
                    rate = learning_rate(self.cfg, self.iteration - 1)
                    speed = solver.IMS_PER_BATCH / (ended - begun)
                    curves.add(self.iteration, lr=rate, images_per_second=speed, **losses)
                    bar.update(solver.IMS_PER_BATCH)
                    bar.set_postfix(loss=f"{losses['total_loss']:.3f}")
                    if last or self.iteration % self.cfg.TEST.EVAL_PERIOD == 0:
                        curves.add(self.iteration, **self._validate())
                    if last or self.iteration % solver.CHECKPOINT_PERIOD == 0:
                        save(self._state(), self.out / LAST)
                comm.synchronize()
                begun = time.perf_counter()
        if writes:
            curves.close()

    def step(self, batch):
        """One iteration of gradient descent.

        Parameters
        ----------
        batch : list of dict
            This process' share, from `samples.batches`.

        Returns
        -------
        dict of str to float
            The losses by name and ``total_loss``, each the mean over the processes, and
            ``gradient``, the length of the gradient of all weights before it was clipped.

        Raises
        ------
        DeepMuCSError
            If a loss is no number any more, or the memory does not suffice.
        """
        self.model.train()
        set_image_seeds(self.network, [sample["seed"] for sample in batch])
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.cfg, self.iteration)
        try:
            losses = self._forward(batch)
            if not math.isfinite(self.losses["total_loss"]):
                raise FloatingPointError
            self.optimizer.zero_grad()
            sum(losses.values()).backward()
        except FloatingPointError:
            raise self._diverged(batch) from None
        except (MemoryError, RuntimeError) as error:
            if _is_out_of_memory(error):
                raise self._out_of_memory(batch) from None
            raise
        clip = self.cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE
        gradient = float(nn.utils.clip_grad_norm_(self.network.parameters(), clip))
        self.optimizer.step()
        self.iteration += 1
        return self.losses | {"gradient": gradient}

    def _forward(self, batch):
        mixed = self.cfg.SOLVER.AMP.ENABLED and self.on_gpu
        with torch.autocast("cuda", torch.bfloat16, enabled=mixed):
            losses = self.model(batch)
        values = torch.stack([loss.detach().float() for loss in losses.values()])
        if self.processes > 1:
            torch.distributed.all_reduce(values)
            values /= self.processes
        self.losses = dict(zip(losses, values.tolist(), strict=True))
        self.losses["total_loss"] = float(values.sum())
        return losses

    def _diverged(self, batch):
        found = ", ".join(f"{name} {value:.4g}" for name, value in self.losses.items())
        names = ", ".join(sample["name"] for sample in batch)
        return DeepMuCSError(
            f"iteration {self.iteration + 1}: the training diverged; last losses: "
            f"{found or 'none'}; images of the batch: {names}; take a lower SOLVER.BASE_LR, or "
            "look at these images."
        )

    def _out_of_memory(self, batch):
        sizes = [sample["image"].shape[1:] for sample in batch]
        height, width = max(sizes, key=math.prod)
        return DeepMuCSError(
            f"iteration {self.iteration + 1}: out of memory with {len(batch)} images of up to "
            f"{height} × {width} px in one process; lower SOLVER.IMS_PER_BATCH (--batch), and if "
            "that is not enough MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE."
        )

    def _validate(self):
        """AP on the validation set; the weights are kept when it is the best so far."""
        predictions = self.out / "val_predictions.json"
        predict_set(self.network, self.cfg, self.validation, predictions)
        metrics = evaluate(match_files(self.validation.folder, predictions))
        if metrics["segm"]["AP"] > self.best:
            self.best = metrics["segm"]["AP"]
            content = {"model": self.network.state_dict(), "iteration": self.iteration}
            save(content, self.out / BEST)
        return {
            f"val_{task}_{key}": metrics[task][key]
            for task in ("segm", "bbox")
            for key in ("AP", "AP50", "AP75")
        }

    def _state(self):
        return {
            "model": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration,
            "best": self.best,
        }

    def _restore(self, state):
        self.network.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.iteration, self.best = state["iteration"], state["best"]

    def _start_from(self, weights):
        report = load_into(self.network, read_tensors(weights), weights)
        text = json.dumps({"source": weights} | vars(report), indent=1)
        write_text(self.out / REPORT, text)


def _is_out_of_memory(error):
    return isinstance(
        error, (MemoryError, torch.OutOfMemoryError)
    ) or "can't allocate memory" in str(error)
