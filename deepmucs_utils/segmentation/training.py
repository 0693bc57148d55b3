"""Training (paper, section V): SGD on a co-culture set, validated on another as it goes."""

import math
from dataclasses import astuple, dataclass
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.engine import launch as launch_processes
from torch.multiprocessing import ProcessRaisedException

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.segmentation.config import get_config, set_categories
from deepmucs_utils.segmentation.run_files import CONFIG, differences, read_config, write_config
from deepmucs_utils.segmentation.trainer import Trainer


@dataclass(frozen=True)
class Launch:
    """The processes that share a training, as detectron2's ``launch`` starts them.

    Parameters
    ----------
    processes : int
        Processes on each machine, one per GPU.
    machines : int
        Number of machines.
    machine : int
        Number of this machine, from 0.
    address : str
        Address of machine 0 for all of them, e.g. ``tcp://10.0.0.1:5555``.
    """

    processes: int = 1
    machines: int = 1
    machine: int = 0
    address: str = "auto"


def train(cfg: CfgNode, source, validation, out, resume=False, launch=None) -> Path:
    """Train a model.

    Parameters
    ----------
    cfg : CfgNode
        From `training_config`, for the categories of ``source``.
    source : samples.CoCultureSet or generation.endless.EndlessSet
        Images to train on.
    validation : samples.CoCultureSet
    out : path-like
        Folder of the run.
    resume : bool
        Continue the training in ``out``; start it where there is none.
    launch : Launch, optional
        Default one process.

    Returns
    -------
    Path
        ``out``, with ``config.yaml``, ``last.pth`` (the state to resume from), ``best.pth`` (the
        weights with the best validation AP), ``curves.jsonl`` and TensorBoard files.

    Raises
    ------
    DeepMuCSError
        If sets and network differ in their categories, the processes cannot share the batch,
        ``out`` holds another run, an image cannot be read, the training diverges or memory is
        exhausted.
    """
    out, launch = Path(out), launch or Launch()
    classes = list(zip(cfg.DATASETS.CATEGORY_IDS, cfg.DATASETS.CATEGORY_NAMES, strict=True))
    for name, images in {"training": source, "validation": validation}.items():
        if [(category["id"], category["name"]) for category in images.categories] != classes:
            raise DeepMuCSError(
                f"the {name} set has other categories than the network; expected "
                f"{', '.join(cfg.DATASETS.CATEGORY_NAMES)}, in this order; see `training_config`."
            )
    processes = launch.processes * launch.machines
    share, rest = divmod(cfg.SOLVER.IMS_PER_BATCH, processes)
    if rest or share < 2:  # split attention normalises over the images of a process alone
        raise DeepMuCSError(
            f"batch {cfg.SOLVER.IMS_PER_BATCH}: cannot be shared by {processes} processes; "
            "expected a multiple, at least two images each."
        )
    _open_run(cfg, out, resume)
    try:
        launch_processes(_train, *astuple(launch), args=(cfg, source, validation, out))
    except ProcessRaisedException as error:
        raise _sentence(error) from None
    return out


def _train(cfg, source, validation, out):
    Trainer(cfg, source, validation, out).run()


def _sentence(error):
    """The one sentence that a process ended with, or its whole traceback."""
    last = str(error).strip().splitlines()[-1]
    name, _, sentence = last.partition(": ")
    return DeepMuCSError(sentence) if name.endswith("DeepMuCSError") else error


def training_config(
    model: str, categories: list[dict], iterations=None, seed=0, batch=None, weights=None
) -> CfgNode:
    """A named configuration, fitted to a set, a number of iterations and a batch.

    Parameters
    ----------
    model : {"small", "resnest50", "paper"}
    categories : list of dict
        COCO categories, in the order of the network's classes.
    iterations : int, optional
        Default is the configuration's. For another number warm-up, steps and the validations'
        period keep their share of the training.
    seed : int
    batch : int, optional
        Images per iteration, over all processes; the learning rate is proportional to it.
    weights : path-like, optional
        A run to start from, or a checkpoint that `weights.read_checkpoint` reads.

    Returns
    -------
    CfgNode
    """
    cfg = get_config(model)
    cfg.SEED = seed
    cfg.MODEL.WEIGHTS = str(weights or "")
    set_categories(cfg, categories)
    solver = cfg.SOLVER
    if batch is not None:
        solver.BASE_LR *= batch / solver.IMS_PER_BATCH
        solver.IMS_PER_BATCH = batch
    if iterations is not None:
        share = iterations / solver.MAX_ITER
        solver.MAX_ITER = iterations
        solver.STEPS = tuple(math.ceil(step * share) for step in solver.STEPS)
        solver.WARMUP_ITERS = math.ceil(solver.WARMUP_ITERS * share)
        cfg.TEST.EVAL_PERIOD = math.ceil(cfg.TEST.EVAL_PERIOD * share)
    return cfg


def _open_run(cfg, out, resume):
    """Make the run's folder, or see that what is in it is this very run."""
    if (out / CONFIG).is_file():
        if not resume:
            raise DeepMuCSError(
                f"{out}: holds a run; take another folder, or resume it with --resume."
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
