"""The configurations: ``paper``, ``resnest50`` and ``small``, three sizes of one network.

Their values are in ``configs/*.yaml``, each with its source. ``paper.yaml`` is the network of the
paper (sections III and V); the others list what differs from it.
"""

from pathlib import Path

import torch
from detectron2.config import CfgNode, get_cfg

from deepmucs_utils import MODELS
from deepmucs_utils.data.cultures import CATEGORIES
from deepmucs_utils.errors import DeepMuCSError

CONFIGS = Path(__file__).parent / "configs"


def add_deepmucs_config(cfg):
    """Add this project's keys to a detectron2 configuration.

    Parameters
    ----------
    cfg : CfgNode
        Changed in place. New keys:

        ``MODEL.RESNEST.VARIANT``: name in timm;
        ``MODEL.RESNEST.CHANNELS``, ``MODEL.RESNEST.STEM_WIDTH``: channels of the 3×3 convolutions
        of res2 to res5 and of the stem, to make the variant narrower; empty leaves it as it is;
        ``INPUT.CROP.TYPE`` may be ``"cell"``: crops contain a cell of a class drawn from the image;
        ``INPUT.QUARTER_TURNS``: whether training turns images by 0, 90, 180 or 270 degrees; with
        detectron2's ``RANDOM_FLIP`` these are the eight symmetries of the square;
        ``SOLVER.OPTIMIZER``: ``"SGD"`` or ``"AdamW"``;
        ``DATASETS.CATEGORY_IDS``, ``DATASETS.CATEGORY_NAMES``: classes of the network in its
        order, see `set_categories`.

        Normalisation and deformable stages are detectron2's keys under ``MODEL.RESNETS``.
    """
    cfg.MODEL.RESNEST = CfgNode()
    cfg.MODEL.RESNEST.VARIANT = "resnest200e"
    cfg.MODEL.RESNEST.CHANNELS = []
    cfg.MODEL.RESNEST.STEM_WIDTH = 32
    cfg.INPUT.QUARTER_TURNS = False
    cfg.SOLVER.OPTIMIZER = "SGD"
    set_categories(cfg, CATEGORIES)


def set_categories(cfg, categories):
    """Make COCO categories, in their order, the classes of a configured network."""
    cfg.DATASETS.CATEGORY_IDS = [category["id"] for category in categories]
    cfg.DATASETS.CATEGORY_NAMES = [category["name"] for category in categories]
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(categories)


def get_config(name: str = "paper") -> CfgNode:
    """A configuration by name.

    Parameters
    ----------
    name : {"paper", "resnest50", "small"}
        Name of a file in ``configs``.

    Returns
    -------
    CfgNode
        Ready for ``detectron2.modeling.build_model``; on the CPU where there is no GPU.

    Raises
    ------
    DeepMuCSError
        If the name is unknown.

    Examples
    --------
    >>> get_config("paper").MODEL.ANCHOR_GENERATOR.SIZES
    [[8], [16], [32], [64], [128]]
    """
    if name not in MODELS:
        raise DeepMuCSError(f"model {name!r}: unknown; expected one of {', '.join(MODELS)}.")
    return load_config(CONFIGS / f"{name}.yaml")


def load_config(path) -> CfgNode:
    """Read a configuration file with this project's keys.

    Parameters
    ----------
    path : path-like
        YAML as detectron2 reads it; ``_BASE_`` names a file that it changes.

    Returns
    -------
    CfgNode
        With ``MODEL.DEVICE`` of this machine.

    Raises
    ------
    DeepMuCSError
        If the file is no configuration.
    """
    cfg = get_cfg()
    add_deepmucs_config(cfg)
    try:
        cfg.merge_from_file(str(path))
    except (KeyError, ValueError, AssertionError) as error:
        raise DeepMuCSError(
            f"{path}: cannot be read ({error}); expected a file written by `deepmucs train`."
        ) from None
    cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    return cfg


def summary(cfg: CfgNode) -> dict[str, str]:
    """What distinguishes one configuration of the network from another.

    Parameters
    ----------
    cfg : CfgNode
        From `get_config`.

    Returns
    -------
    dict of str to str
        Part and value.
    """
    model, solver = cfg.MODEL, cfg.SOLVER
    flags = model.RESNETS.DEFORM_ON_PER_STAGE
    deformable = [f"res{stage}" for stage, on in enumerate(flags, start=2) if on]
    scales = [str(side) for side in cfg.INPUT.MIN_SIZE_TRAIN if side] or ["as it is"]
    return {
        "backbone (timm)": model.RESNEST.VARIANT + (", narrower" if model.RESNEST.CHANNELS else ""),
        "deformable convolution": ", ".join(deformable) or "none",
        "normalisation": model.RESNETS.NORM,
        "FPN channels": str(model.FPN.OUT_CHANNELS),
        "anchor sizes (px)": ", ".join(str(size[0]) for size in model.ANCHOR_GENERATOR.SIZES),
        "aspect ratios": ", ".join(f"{r:g}" for r in model.ANCHOR_GENERATOR.ASPECT_RATIOS[0]),
        "cascade IoU": ", ".join(f"{iou:g}" for iou in model.ROI_BOX_CASCADE_HEAD.IOUS),
        "box head": f"{model.ROI_BOX_HEAD.NUM_CONV} conv, FC {model.ROI_BOX_HEAD.FC_DIM}",
        "mask head": f"{model.ROI_MASK_HEAD.NUM_CONV} conv of {model.ROI_MASK_HEAD.CONV_DIM}",
        "short side, training (px)": ", ".join(scales),
        "short side, test (px)": str(cfg.INPUT.MIN_SIZE_TEST or "as it is"),
        "images per batch": str(solver.IMS_PER_BATCH),
        "optimiser": solver.OPTIMIZER,
        "learning rate": f"{solver.BASE_LR:g}",
        "momentum": f"{solver.MOMENTUM:g}",
        "iterations": f"{solver.MAX_ITER:,}",
    }
