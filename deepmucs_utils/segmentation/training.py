"""Training (paper, section V): SGD on a co-culture set, validated on another as it goes."""

import math
from pathlib import Path

from detectron2.engine import launch
from torch.multiprocessing import ProcessRaisedException

from deepmucs_utils.data.livecell import CACHE
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.generation.endless import EndlessSet
from deepmucs_utils.segmentation.checkpoints import CONFIG, differences, read_config, write_config
from deepmucs_utils.segmentation.config import get_config
from deepmucs_utils.segmentation.samples import CoCultureSet
from deepmucs_utils.segmentation.trainer import Trainer


def train(
    set_dir,
    val_dir,
    out,
    model="small",
    iterations=None,
    seed=0,
    resume=False,
    batch=None,
    weights=None,
    endless=None,
    cache=CACHE,
    processes=1,
    machines=1,
    machine=0,
    address="auto",
):
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
    batch : int, optional
        Images an iteration, over all processes; the learning rate is scaled with it.
    weights : path-like, optional
        A run to start from, or a checkpoint that `weights.read_tensors` reads.
    endless : path-like, optional
        LIVECell root that ``set_dir`` was composed from: each epoch's images are composed anew.
    cache : path-like
        Folder for derived data, with ``endless``.
    processes, machines, machine, address : int, int, int, str
        Processes on each machine (one a GPU), number of machines, number of this one, and the
        first one's address, as detectron2's ``launch`` takes them.

    Returns
    -------
    Path
        ``out``, with ``config.yaml``, ``last.pth`` (the state to go on from), ``best.pth`` (the
        weights with the best validation AP), ``curves.jsonl`` and TensorBoard files.

    Raises
    ------
    DeepMuCSError
        If a set cannot be read, ``out`` holds another run, the training diverges or memory ends.
    """
    out = Path(out)
    source, validation = CoCultureSet(set_dir), CoCultureSet(val_dir)
    if source.categories != validation.categories:
        raise DeepMuCSError(
            f"{val_dir}: has other categories than {set_dir}; validate on a set of the same kind."
        )
    cfg = training_config(model, source.categories, iterations, seed, batch, weights)
    share, rest = divmod(cfg.SOLVER.IMS_PER_BATCH, processes * machines)
    if rest or share < 2:  # split attention normalises over the images of a process alone
        raise DeepMuCSError(
            f"batch {cfg.SOLVER.IMS_PER_BATCH}: cannot be shared by {processes * machines} "
            "processes; expected a multiple, at least two images each."
        )
    if endless is not None:
        source = EndlessSet(set_dir, endless, cache)
    _open_run(cfg, out, resume)
    try:
        launch(_train, processes, machines, machine, address, args=(cfg, source, validation, out))
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


def training_config(model, categories, iterations=None, seed=0, batch=None, weights=None):
    """The configuration of a training: a named one, fitted to a set, a length and a batch.

    Warm-up, steps and the validations' period keep their share of the training; the learning rate
    is proportional to the batch.

    Parameters
    ----------
    model : str
    categories : list of dict
        COCO categories, in the order of the network's classes.
    iterations, seed, batch, weights
        See `train`.

    Returns
    -------
    CfgNode
    """
    cfg = get_config(model)
    cfg.SEED = seed
    cfg.MODEL.WEIGHTS = str(weights or "")
    cfg.DATASETS.CATEGORY_IDS = [category["id"] for category in categories]
    cfg.DATASETS.CATEGORY_NAMES = [category["name"] for category in categories]
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(categories)
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
