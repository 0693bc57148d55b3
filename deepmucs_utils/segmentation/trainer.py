"""One training under way: its steps, its validations, and what is kept of them.

An iteration depends only on the run's seed and its number, so an interrupted training resumes to
the weights that it would have had, on the CPU bit for bit. On a GPU, which
adds gradients in no fixed order, weights differ in their last digits from the first step on.
"""

import bisect
import math
import time
from contextlib import nullcontext
from statistics import fmean

import torch
import torch.distributed
from detectron2.engine.defaults import create_ddp_model
from detectron2.modeling import build_model
from detectron2.solver.build import get_default_optimizer_params
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import nn
from tqdm import tqdm

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.evaluation.matching import match_files
from deepmucs_utils.evaluation.metrics import evaluate
from deepmucs_utils.files import write_json
from deepmucs_utils.segmentation.launch import from_first
from deepmucs_utils.segmentation.muon import Muon
from deepmucs_utils.segmentation.predict import predict_files
from deepmucs_utils.segmentation.run_files import BEST, LAST, Curves, load, save
from deepmucs_utils.segmentation.samples import Samples, batches
from deepmucs_utils.segmentation.seeded_heads import set_image_seeds
from deepmucs_utils.segmentation.weights import REPORT, load_into, read_checkpoint

OFFSETS_RATE = 0.1  # of the learning rate
SMALLEST = 16  # inputs and outputs of a layer that Muon changes


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


def optimizers(cfg, network):
    """What changes the weights: SGD, AdamW, or Muon and for what it leaves AdamW; clips nothing.

    AdamW is that of Loshchilov and Hutter (2019). Muon changes the weights of hidden layers at
    ``MUON_FACTOR`` times the rate: of those with `SMALLEST` inputs and outputs or more, which the
    layers that predict classes and boxes do not have.

    Offsets of deformable convolutions learn at a tenth of the rate (Zhu et al., Deformable ConvNets
    v2, 2019). AdamW moves every weight as fast, however small its gradient: at the whole rate the
    places left the image within some hundred steps.

    Parameters
    ----------
    cfg : CfgNode
    network : Module

    Returns
    -------
    list of torch.optim.Optimizer
        With disjoint weights. The ``share`` of a group of them is its part of the learning rate.
    """
    solver = cfg.SOLVER
    groups = get_default_optimizer_params(
        network,
        solver.BASE_LR,
        solver.WEIGHT_DECAY,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        lr_factor_func=lambda name: OFFSETS_RATE if ".offset." in name else 1.0,
    )
    groups = [group | {"share": group["lr"] / solver.BASE_LR} for group in groups]
    if solver.OPTIMIZER == "SGD":
        return [torch.optim.SGD(groups, momentum=solver.MOMENTUM)]
    hidden = _hidden_layers(network) if solver.OPTIMIZER == "Muon" else {}
    rest = [
        group | {"params": [weights for weights in group["params"] if weights not in hidden]}
        for group in groups
    ]
    found = [torch.optim.AdamW(rest, betas=(solver.MOMENTUM, 0.99))]
    if hidden:
        options = {"share": solver.MUON_FACTOR, "weight_decay": solver.WEIGHT_DECAY}
        matrices = [{"params": [w], "groups": n} | options for w, n in hidden.items()]
        found.append(Muon(matrices, solver.BASE_LR))
    return found


def _hidden_layers(network):
    """The weights that Muon changes, and the groups of their convolution."""
    found = {}
    for name, layer in network.named_modules():
        weights, groups = getattr(layer, "weight", None), getattr(layer, "groups", 1)
        if isinstance(weights, nn.Parameter) and weights.ndim > 1 and not name.endswith(".offset"):
            if min(len(weights) // groups, weights[0].numel()) >= SMALLEST:
                found[weights] = groups
    return found


def _mean_in_order(_, bucket):
    """The mean of a bucket's gradients, added in the order of the processes.

    gloo adds those of three and more processes in an order that depends on a weight's place in the
    bucket; the places change after the first iteration, of a resumed training too.
    """
    gradients = bucket.buffer()
    found = [torch.empty_like(gradients) for _ in range(comm.get_world_size())]
    future = torch.distributed.all_gather(found, gradients, async_op=True).get_future()
    return future.then(lambda _: sum(found) / len(found))


class Trainer:
    """A training under way; with several processes, this process's part of it.

    With frozen normalisation several processes, or one that goes through its images in several
    parts (``SOLVER.ACCUMULATE``), make the same step as one process with the same images at once,
    as long as every image has as many samples: detectron2 averages over those of a part. With
    batch statistics each part normalises over its own images, and moves the running statistics
    once. Processes on GPUs may synchronise them (SyncBN), parts cannot.
    ``book/measured/two_processes.txt`` says by how much the steps differ; two parts differ as two
    processes do.

    Parameters
    ----------
    cfg : CfgNode
        From `training.training_config`.
    source : CoCultureSet or generation.endless.EndlessSet
        Images to train on.
    validation : CoCultureSet
    out : Path
        Folder of the run; the training resumes from ``last.pth`` in it. Process 0 alone uses it.

    Raises
    ------
    DeepMuCSError
        If gradients are to be clipped in another way than by the norm of them all.

    Attributes
    ----------
    iteration : int
        Iterations done.
    best : float
        Best validation AP so far, percent.
    losses : dict of str to float
        Of the last iteration, the mean over the processes; ``gradient``, the norm of the gradient
        of all weights before it was clipped.
    """

    def __init__(self, cfg, source, validation, out):
        self.cfg, self.validation, self.out = cfg, validation, out
        self.rank, self.processes = comm.get_rank(), comm.get_world_size()
        self.on_gpu = cfg.MODEL.DEVICE == "cuda"
        clip = cfg.SOLVER.CLIP_GRADIENTS
        if clip.ENABLED and clip.CLIP_TYPE != "full_model":
            raise DeepMuCSError(
                f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE {clip.CLIP_TYPE!r}: unknown here; expected "
                "full_model, or ENABLED: False."
            )
        torch.manual_seed(cfg.SEED)
        self.network = build_model(cfg)
        if self.on_gpu:
            self.network.to(memory_format=torch.channels_last)
        self.optimizers = optimizers(cfg, self.network)
        self.iteration, self.best, self.losses = 0, -1.0, {}
        self._restore()
        devices = [comm.get_local_rank()] if self.on_gpu else None
        self.model = create_ddp_model(self.network, device_ids=devices, broadcast_buffers=False)
        if self.processes > 1 and not self.on_gpu:
            self.model.register_comm_hook(None, _mean_in_order)
        self.samples = Samples(source, cfg, cfg.SEED)

    def _restore(self):
        """Take the last state of the run, or else the weights to start from, from process 0."""
        last, weights = self.out / LAST, self.cfg.MODEL.WEIGHTS
        state = from_first(lambda: load(last) if last.is_file() else None)
        if state is not None:
            if "optimizers" not in state:
                raise DeepMuCSError(
                    f"{last}: saved by an earlier version, whose trainings cannot be resumed; "
                    "train in another folder, from these weights with --weights."
                )
            self.network.load_state_dict(state["model"])
            for one, its_state in zip(self.optimizers, state["optimizers"], strict=True):
                one.load_state_dict(its_state)
            self.iteration, self.best = state["iteration"], state["best"]
        elif weights:
            report = load_into(self.network, from_first(lambda: read_checkpoint(weights)))
            if self.rank == 0:
                write_json(self.out / REPORT, report)

    def run(self):
        """Train to the end."""
        solver, first = self.cfg.SOLVER, self.iteration
        if first == solver.MAX_ITER:
            return
        writes = self.rank == 0
        curves = Curves(self.out, first) if writes else None
        bar = tqdm(
            batches(self.samples, self.cfg, first, self.rank, self.processes),
            desc="training",
            total=solver.MAX_ITER,
            initial=first,
            unit="image",
            unit_scale=solver.IMS_PER_BATCH,
            disable=None if writes else True,
        )
        with EventStorage(first), bar:
            begun = time.perf_counter()
            for batch in bar:
                values = self.step(batch)
                if writes:
                    speed = solver.IMS_PER_BATCH / (time.perf_counter() - begun)
                    curves.add(self.iteration, images_per_second=speed, **values)
                    bar.set_postfix(loss=f"{values['total_loss']:.3f}")
                    if self._is_due(self.cfg.TEST.EVAL_PERIOD):
                        curves.add(self.iteration, **self._validate())
                    if self._is_due(solver.CHECKPOINT_PERIOD):
                        states = [one.state_dict() for one in self.optimizers]
                        self._save(LAST, optimizers=states, best=self.best)
                comm.synchronize()
                begun = time.perf_counter()
        if writes:
            curves.close()

    def step(self, batch):
        """One iteration of gradient descent.

        Parameters
        ----------
        batch : list of dict
            This process's share, from `samples.batches`.

        Returns
        -------
        dict of str to float
            The losses by name and ``total_loss``, each the mean over the processes; ``gradient``,
            the norm of the gradient of all weights before it was clipped; ``lr``.

        Raises
        ------
        DeepMuCSError
            If a loss or the gradient is no longer finite, before the weights change; or memory is
            exhausted.
        """
        self.model.train()
        rate = learning_rate(self.cfg, self.iteration)
        for one in self.optimizers:
            one.zero_grad()
            for group in one.param_groups:
                group["lr"] = rate * group["share"]
        number = self.cfg.SOLVER.ACCUMULATE
        parts = [batch[k::number] for k in range(number)]
        try:
            found = [self._add_gradient(part, parts) for part in parts]
            self.losses = {name: fmean(losses[name] for losses in found) for name in found[0]}
            clip = self.cfg.SOLVER.CLIP_GRADIENTS
            longest = clip.CLIP_VALUE if clip.ENABLED else math.inf
            gradient = nn.utils.clip_grad_norm_(self.network.parameters(), longest, clip.NORM_TYPE)
            self.losses["gradient"] = float(gradient)
            if not gradient.isfinite():
                raise FloatingPointError
        except FloatingPointError:  # detectron2 raises it too
            raise self._diverged(batch) from None
        except (MemoryError, RuntimeError) as error:
            known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
            if not known and "can't allocate memory" not in str(error):
                raise
            raise self._out_of_memory(parts[0]) from None
        for one in self.optimizers:
            one.step()
        self.iteration += 1
        return self.losses | {"lr": rate}

    def _add_gradient(self, part, parts):
        """Add a part's share of the gradient; its losses as numbers."""
        set_image_seeds(self.network, [sample["seed"] for sample in part])
        waits = self.processes > 1 and part is not parts[-1]  # gradients are exchanged but once
        with self.model.no_sync() if waits else nullcontext():
            losses = self._forward(part)
            if not math.isfinite(self.losses["total_loss"]):
                raise FloatingPointError
            (sum(losses.values()) / len(parts)).backward()
        return self.losses

    def _forward(self, batch):
        """The losses of images, as tensors; their means over the processes are kept."""
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

    def _out_of_memory(self, part):
        height, width = max((sample["image"].shape[1:] for sample in part), key=math.prod)
        return DeepMuCSError(
            f"iteration {self.iteration + 1}: out of memory with {len(part)} images of up to "
            f"{height} × {width} px at once; raise SOLVER.ACCUMULATE (deepmucs train "
            "--accumulate), and if that is not enough lower MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE."
        )

    def _is_due(self, period):
        """Whether something that is done every ``period`` iterations, and at the end, is due."""
        return self.iteration == self.cfg.SOLVER.MAX_ITER or self.iteration % period == 0

    def _validate(self):
        """AP on the validation set; the weights are kept when it is the best so far."""
        predictions = self.out / "val_predictions.json"
        predict_files(self.network, self.cfg, self.validation.paths(), predictions)
        metrics = evaluate(match_files(self.validation.folder, predictions))
        if metrics["segm"]["AP"] > self.best:
            self.best = metrics["segm"]["AP"]
            self._save(BEST)
        return {
            f"val_{task}_{key}": metrics[task][key]
            for task in ("segm", "bbox")
            for key in ("AP", "AP50", "AP75")
        }

    def _save(self, name, **state):
        weights = {"model": self.network.state_dict(), "iteration": self.iteration}
        save(weights | state, self.out / name)
