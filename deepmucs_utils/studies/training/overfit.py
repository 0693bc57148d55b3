"""Can the large networks learn at all? Each is trained on eight crops until it knows them.

A network with a fault in its loss, its gradient or its normalisation does not come to find nearly
every cell of eight crops that it sees at every step. ``resnest50`` and ``paper`` are trained from
random weights on the CPU, on 128 px of one image per culture. What differs from their configuration
is listed in the result: a 128 px crop needs fewer samples and proposals, SyncBN needs GPUs, and the
schedule is short. Beside it stands whether a training that was saved and loaded makes, to the bit,
the step that it would have made.
"""

import shutil
from functools import reduce

import torch

from deepmucs_utils import segmentation  # noqa: F401  (first: it quiets detectron2)

# isort: split
from detectron2.utils.events import EventStorage

from deepmucs_utils.evaluation.records import read_ground_truth
from deepmucs_utils.files import read_json, write_json
from deepmucs_utils.segmentation.config import get_config
from deepmucs_utils.segmentation.run_files import differences, read_curves
from deepmucs_utils.segmentation.samples import CoCultureSet, batches
from deepmucs_utils.segmentation.trainer import Trainer
from deepmucs_utils.segmentation.training import training_config
from deepmucs_utils.studies.training.monocultures import Windows, write_monocultures
from deepmucs_utils.workflow import params

NETWORKS = ("resnest50", "paper")
CROPS, SIDE = 8, 128  # a window of each culture; px
ENOUGH = 95.0  # AP50 of the masks, percent
PERIOD, MOST = 20, 300  # iterations from one validation to the next, and at most
SETTINGS = {
    "DATALOADER.NUM_WORKERS": 0,
    "INPUT.MIN_SIZE_TEST": 0,  # crops keep their scale
    "INPUT.MIN_SIZE_TRAIN": (0,),
    "INPUT.RANDOM_FLIP": "none",  # the same eight crops at every step
    "MODEL.FPN.NORM": "BN",  # SyncBN needs GPUs
    "MODEL.RESNETS.NORM": "BN",
    "MODEL.ROI_BOX_HEAD.NORM": "BN",
    "MODEL.ROI_MASK_HEAD.NORM": "BN",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 16,  # a crop holds few cells
    "MODEL.ROI_HEADS.POSITIVE_FRACTION": 0.5,
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 64,
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 1000,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 1000,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 200,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 100,
    "SOLVER.OPTIMIZER": "AdamW",
    "SOLVER.BASE_LR": 0.001,
    "SOLVER.WEIGHT_DECAY": 0.01,
    "SOLVER.WARMUP_ITERS": 10,
    "SOLVER.STEPS": (120, 200),
    "SOLVER.GAMMA": 0.3,
    "SOLVER.CHECKPOINT_PERIOD": 2,
    "SOLVER.MAX_ITER": MOST,
    "TEST.EVAL_PERIOD": PERIOD,
    "TEST.DETECTIONS_PER_IMAGE": 100,
}


def study(root, folder):
    """The study ``overfit`` of the registry.

    Parameters
    ----------
    root : path-like
        LIVECell or its phantom.
    folder : Path
        Of crops and trainings; an interrupted training resumes.

    Returns
    -------
    dict
        ``crops``, ``cells`` and ``networks``: by name, what `overfit` gives.
    """
    crops = folder / "crops"
    if not crops.is_dir():
        windows = Windows((SIDE, SIDE), CROPS)
        write_monocultures(root, crops, "train", windows, cache=params.cache())
    source, networks = CoCultureSet(crops), {}
    for model in NETWORKS:
        path = folder / f"{model}.json"
        if not path.is_file():
            write_json(path, overfit(model, source, folder / model))
        networks[model] = read_json(path)
    cells = [cell for cell in read_ground_truth(crops)["annotations"] if not cell["iscrowd"]]
    return {"crops": CROPS, "cells": len(cells), "networks": networks}


def configuration(model, source):
    """A model's configuration with `SETTINGS`, and all images of a set at every step; CfgNode."""
    cfg = training_config(model, source.categories, batch=len(source))
    cfg.merge_from_list([part for setting in SETTINGS.items() for part in setting])
    return cfg


def overfit(model, source, out) -> dict:
    """Train a model on a set, all images at every step, until it knows them.

    Parameters
    ----------
    model : str
        Name of a configuration.
    source : CoCultureSet
    out : Path
        Folder of the run; an interrupted training resumes.

    Returns
    -------
    dict
        ``settings`` (what differs from the configuration, by key), ``resumes exactly`` (bool),
        ``iterations`` done, their ``seconds`` without the validations, and ``validations``: for
        each its ``iteration``, ``loss``, ``AP`` and ``AP50`` (of the masks, percent).
    """
    cfg = configuration(model, source)
    names = differences(get_config(model), cfg)
    settings = {name: reduce(getattr, name.split("."), cfg) for name in names}
    exact = resumes_exactly(cfg.clone(), source, out / "exact")
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(cfg, source, source, out)
    while trainer.iteration < MOST and not (trainer.iteration and _is_known(out)):
        cfg.SOLVER.MAX_ITER = PERIOD * (trainer.iteration // PERIOD + 1)
        trainer.run()
    curves = read_curves(out)
    columns = {"total_loss": "loss", "val_segm_AP": "AP", "val_segm_AP50": "AP50"}
    rows = curves[list(columns)].rename(columns=columns).dropna().reset_index()
    return {
        "settings": settings,
        "resumes exactly": exact,
        "iterations": trainer.iteration,
        "seconds": (len(source) / curves["images_per_second"]).sum(),
        "validations": rows.to_dict("records"),
    }


def _is_known(out):
    """Whether a validation of a training has found enough."""
    return read_curves(out).filter(["val_segm_AP50"]).max().ge(ENOUGH).any()


def resumes_exactly(cfg, source, out) -> bool:
    """Whether a training that was saved and loaded makes the step that it would have made.

    The first step is made and saved. Then the second one is made by the training itself, and by
    another that has loaded what was saved.

    Parameters
    ----------
    cfg : CfgNode
        On the CPU. Changed in place: two iterations, and one detection an image.
    source : CoCultureSet
    out : Path
        Folder of the run; removed at the end.

    Returns
    -------
    bool
        Whether losses, weights and running statistics are the same to the bit.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    cfg.SOLVER.MAX_ITER, cfg.TEST.DETECTIONS_PER_IMAGE = 1, 1
    whole = Trainer(cfg, source, source, out)
    whole.run()
    resumed = Trainer(cfg, source, source, out)
    shutil.rmtree(out)
    cfg.SOLVER.MAX_ITER = 2
    batch = next(batches(whole.samples, cfg, start=1))
    with EventStorage(1):
        losses = [trainer.step(batch) for trainer in (whole, resumed)]
    states = (trainer.network.state_dict().values() for trainer in (whole, resumed))
    return losses[0] == losses[1] and all(map(torch.equal, *states))
