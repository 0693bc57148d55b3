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
        ``MODEL.RESNEST.AVD_FIRST``: whether blocks of stride 2 pool before their 3×3 convolution,
        as the "fast" variants of ResNeSt do, and not after it;
        ``MODEL.ROI_MASK_HEAD.REGIONS_PER_IMAGE``: the most cells' regions of an image that the mask
        head is trained on in a step; 0: all that the box heads are;
        ``INPUT.CROP.TYPE`` may be ``"cell"``: crops contain a cell of a class drawn from the image,
        and as many others as the fullest of some such windows;
        ``INPUT.QUARTER_TURNS``: whether training turns images by 0, 90, 180 or 270 degrees; with
        detectron2's ``RANDOM_FLIP`` these are the eight symmetries of the square;
        ``SOLVER.OPTIMIZER``: ``"SGD"``, ``"AdamW"`` or ``"Muon"``, see `trainer.optimizers`;
        ``SOLVER.MUON_FACTOR``: the learning rate of Muon over that of AdamW;
        ``SOLVER.ACCUMULATE``: parts of a process's share of the batch, one after another, whose
        gradients are added up: less memory for the same step, see `trainer.Trainer`;
        ``SOLVER.CLIP_GRADIENTS.CLIP_TYPE`` is ``"full_model"``, the norm of the whole gradient;
        ``TEST.LIMITS_AREA``: px of an image for which the numbers of proposals and detections at
        test are meant; a larger image may have in proportion more. 0: the same for every image;
        ``DATASETS.CATEGORY_IDS``, ``DATASETS.CATEGORY_NAMES``: classes of the network in its
        order, see `set_categories`.

        Normalisation and deformable stages are detectron2's keys under ``MODEL.RESNETS``.
    """
    cfg.MODEL.RESNEST = CfgNode()
    cfg.MODEL.RESNEST.VARIANT = "resnest200e"
    cfg.MODEL.RESNEST.CHANNELS = []
    cfg.MODEL.RESNEST.STEM_WIDTH = 32
    cfg.MODEL.RESNEST.AVD_FIRST = False
    cfg.INPUT.QUARTER_TURNS = False
    cfg.SOLVER.OPTIMIZER = "SGD"
    cfg.SOLVER.MUON_FACTOR = 1.0
    cfg.SOLVER.ACCUMULATE = 1
    cfg.TEST.LIMITS_AREA = 0
    cfg.MODEL.ROI_MASK_HEAD.REGIONS_PER_IMAGE = 0
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
