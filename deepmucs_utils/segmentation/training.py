"""Training (paper, section V): SGD on a co-culture set, validated on another as it goes."""

import math
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.utils import comm

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.segmentation.config import get_config, set_categories
from deepmucs_utils.segmentation.launch import Launch, can_share, from_first, settle, start
from deepmucs_utils.segmentation.run_files import CONFIG, differences, read_config, write_config
from deepmucs_utils.segmentation.trainer import Trainer


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
        Folder of the run, on machine 0; the others write and read nothing there.
    resume : bool
        Continue the training in ``out``; start it where there is none.
    launch : launch.Launch, optional
        The processes that share it. Default one; ``Launch()`` is one for each GPU, or torchrun's.

    Returns
    -------
    Path
        ``out``, with ``config.yaml``, ``last.pth`` (the state to resume from), ``best.pth`` (the
        weights with the best validation AP), ``curves.jsonl`` and TensorBoard files.

    Raises
    ------
    DeepMuCSError
        If sets and network differ in their categories, the processes cannot be started, cannot
        share the batch or lose one another, ``out`` holds another run, an image cannot be read,
        the training diverges or memory is exhausted.
    """
    out, batch, parts = Path(out), cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.ACCUMULATE
    classes = list(zip(cfg.DATASETS.CATEGORY_IDS, cfg.DATASETS.CATEGORY_NAMES, strict=True))
    for name, images in {"training": source, "validation": validation}.items():
        if [(category["id"], category["name"]) for category in images.categories] != classes:
            raise DeepMuCSError(
                f"the {name} set has other categories than the network; expected "
                f"{', '.join(cfg.DATASETS.CATEGORY_NAMES)}, in this order; see `training_config`."
            )
    images, rest = divmod(batch, parts)
    launch = settle(launch or Launch(processes=1), images, on_gpu=cfg.MODEL.DEVICE == "cuda")
    processes = launch.processes * launch.machines
    if rest or not can_share(images, processes):  # split attention normalises over a part alone
        raise DeepMuCSError(
            f"batch {batch}: cannot be shared by {processes} processes in {parts} parts; expected "
            f"a multiple of {processes * parts}, at least two images each."
        )
    start(launch, _train, cfg, source, validation, out, resume)
    return out


def _train(cfg, source, validation, out, resume):
    _agree(cfg)
    from_first(lambda: _open_run(cfg, out, resume))
    Trainer(cfg, source, validation, out).run()


def _agree(cfg):
    """See that all processes have one configuration."""
    mine = differences(from_first(lambda: cfg), cfg)
    different = sorted({name for names in comm.all_gather(mine) for name in names})
    if different:
        raise DeepMuCSError(
            "the machines were started with different configurations (different: "
            f"{', '.join(different)}); expected the same options on all but --machine and --out."
        )


def training_config(
    model: str,
    categories: list[dict],
    iterations=None,
    seed=0,
    batch=None,
    weights=None,
    accumulate=1,
) -> CfgNode:
    """A named configuration, fitted to a set, a number of iterations and a batch.

    Parameters
    ----------
    model : {"small", "resnest50", "paper"}
    categories : list of dict
        COCO categories, in the order of the network's classes.
    iterations : int, optional
        Default as many as see the configuration's number of images. For another number warm-up,
        steps and the validations' period keep their share of the training.
    seed : int
    batch : int, optional
        Images per iteration, over all processes; the learning rate is proportional to it, the
        checkpoints' period inversely.
    weights : path-like, optional
        A run to start from, or a checkpoint that `weights.read_checkpoint` reads.
    accumulate : int
        Parts in which each process goes through its share of the batch, for less memory; the
        learning rate stays.

    Returns
    -------
    CfgNode
    """
    cfg = get_config(model)
    cfg.SEED = seed
    cfg.MODEL.WEIGHTS = str(weights or "")
    set_categories(cfg, categories)
    solver = cfg.SOLVER
    solver.ACCUMULATE = accumulate
    if batch is not None:
        images = solver.CHECKPOINT_PERIOD * solver.IMS_PER_BATCH
        solver.CHECKPOINT_PERIOD = math.ceil(images / batch)
        iterations = iterations or math.ceil(solver.MAX_ITER * solver.IMS_PER_BATCH / batch)
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
        try:
            out.mkdir(parents=True, exist_ok=True)
            write_config(cfg, out)
        except OSError as error:
            raise DeepMuCSError(
                f"{out}: cannot hold a run ({error.strerror}); take another folder."
            ) from None
