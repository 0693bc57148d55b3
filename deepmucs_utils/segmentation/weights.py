"""Weights from elsewhere: published checkpoints under this project's parameter names.

Three kinds are read: checkpoints of the ResNeSt authors' detectron2 fork (their COCO models and
LIVECell's anchor-based ones), timm's ImageNet classifiers, and models trained here. Every tensor
of the checkpoint and of the network is accounted for: loaded, initialised with the reason, or an
error. So are the anchors, without which the proposal network's outputs mean nothing.
"""

import logging
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model
from detectron2.modeling.anchor_generator import build_anchor_generator
from detectron2.utils import comm

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import write_json
from deepmucs_utils.segmentation.config import get_config, set_categories
from deepmucs_utils.segmentation.run_files import (
    BEST,
    CONFIG,
    LAST,
    load,
    read_config,
    save,
    write_config,
)

REPORT = "weights.json"  # in a run's folder
BOTTOM_UP = "backbone.bottom_up."
#: Parts of names below the backbone: in the fork, and in timm.
_FORK_TO_TIMM = {
    "stem.conv1_1.norm.": "net.conv1.1.",
    "stem.conv1_1.": "net.conv1.0.",
    "stem.conv1_2.norm.": "net.conv1.4.",
    "stem.conv1_2.": "net.conv1.3.",
    "stem.conv1_3.norm.": "net.bn1.",
    "stem.conv1_3.": "net.conv1.6.",
    ".conv1.norm.": ".bn1.",
    ".conv3.norm.": ".bn3.",
    ".shortcut.norm.": ".downsample.2.",
    ".shortcut.": ".downsample.1.",
    ".conv2_offset.": ".conv2.conv.offset.",
} | {f"res{stage}.": f"net.layer{stage - 1}." for stage in (2, 3, 4, 5)}
_LEVELS = ["p2", "p3", "p4", "p5", "p6"]
#: How the fork's networks were trained, by their number of anchors at a place.
_PUBLISHED = {
    # COCO: configs/Base-RCNN-FPN.yaml and mask_cascade_rcnn_ResNeSt_200_FPN_dcn_….yaml of the fork
    3: [
        *("MODEL.ANCHOR_GENERATOR.SIZES", [[32], [64], [128], [256], [512]]),
        *("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [[0.5, 1.0, 2.0]]),
        *("MODEL.PIXEL_MEAN", [123.68, 116.779, 103.939]),
        *("MODEL.PIXEL_STD", [58.393, 57.12, 57.375]),
    ],
    # LIVECell: model/anchor_based/*.yaml of its repository
    5: [
        *("MODEL.ANCHOR_GENERATOR.SIZES", [[4], [9], [17], [31], [64], [127]]),
        *("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [[0.25, 0.5, 1.0, 2.0, 4.0]]),
        *("MODEL.RPN.IN_FEATURES", ["p2", *_LEVELS]),
    ],
}
_TEST_SIDE = 800  # px; detectron2's default, which neither of them changes
#: Entries of a checkpoint that the configuration determines.
_ANCHORS = "proposal_generator.anchor_generator.cell_anchors."
_CONSTANTS = re.compile(rf"pixel_(mean|std)|{re.escape(_ANCHORS)}\d+")
_MASKS = "roi_heads.mask_head.predictor."
_RPN = re.compile(r"proposal_generator\.rpn_head\.(objectness_logits|anchor_deltas)\.\w+")
#: Tensors whose shape depends on a choice of the checkpoint's authors, and the choice.
_CHOICES = {
    "classes": re.compile(r"roi_heads\.(box_predictor\.\d\.cls_score|mask_head\.predictor)\.\w+"),
    "anchors of the proposal network": _RPN,
}


@dataclass
class Checkpoint:
    """The content of a checkpoint.

    Attributes
    ----------
    source : Path
        For messages.
    tensors : dict of str to Tensor
        Under this project's names.
    settings : CfgNode or None
        What its network was trained with: anchors and their levels, normalisation of the pixels,
        and the side of images at test. None: unknown, or no detector.
    """

    source: Path
    tensors: dict[str, torch.Tensor]
    settings: CfgNode | None


def convert(source, out, model="paper", keep_classes=False) -> Path:
    """Convert a checkpoint to a run to predict with or to start a training from.

    Parameters
    ----------
    source : path-like
        Checkpoint; nothing in it is executed.
    out : path-like
        Folder of the new run.
    model : {"resnest50", "paper"}
        The network that the checkpoint is for.
    keep_classes : bool
        Keep the checkpoint's number of classes instead of the eight cultures; the model then
        predicts as the original does.

    Returns
    -------
    Path
        ``out``, with ``config.yaml``, ``best.pth`` and ``weights.json``, which accounts for every
        tensor. Anchors, normalisation and the side of images at test are the checkpoint's.

    Raises
    ------
    DeepMuCSError
        If ``model`` is ``"small"``, which is narrower than any published network; if the file
        holds more than tensors, has a tensor without a place, or lacks one.
    """
    out = Path(out)
    if (out / CONFIG).exists():
        raise DeepMuCSError(f"{out}: holds a run; take another folder.")
    if model == "small":
        raise DeepMuCSError(
            "model small: no published checkpoint has its shapes; expected paper or resnest50 "
            "(`deepmucs train --weights` takes a run of small as it is)."
        )
    checkpoint = read_checkpoint(source)
    cfg = _fit_config(get_config(model), checkpoint, keep_classes)
    cfg.MODEL.DEVICE = "cpu"
    network = build_model(cfg)
    report = load_into(network, checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    save({"model": network.state_dict(), "iteration": 0}, out / BEST)
    write_json(out / REPORT, report)
    write_config(cfg, out)
    return out


def read_checkpoint(source) -> Checkpoint:
    """Read a checkpoint: its tensors under this project's names, and how it was trained.

    Parameters
    ----------
    source : path-like
        A file, or the folder of a run, of which the best weights are read.

    Returns
    -------
    Checkpoint

    Raises
    ------
    DeepMuCSError
        If the file holds more than tensors, two for one place, or anchors that a configuration
        cannot express.
    """
    source = Path(source)
    path = source / BEST if source.is_dir() else source
    content = load(path)
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(map(torch.is_tensor, content.values())):
        raise DeepMuCSError(f"{source}: no tensors by name; expected a model's checkpoint.")
    tensors = {}
    for name, tensor in content.items():
        new = _our_name(name)
        if new in tensors:
            raise DeepMuCSError(f"{source}: has two tensors for {new}; expected one.")
        tensors[new] = tensor
    return Checkpoint(source, tensors, _settings(content, path))


def _settings(content, path):
    """What a checkpoint's network was trained with; see `Checkpoint`.

    A run's configuration tells it, and for the fork's networks their kind, unless they hold their
    anchors and normalisation themselves.
    """
    if path.name in (BEST, LAST) and (path.parent / CONFIG).is_file():
        return read_config(path.parent)
    logits = content.get("proposal_generator.rpn_head.objectness_logits.bias")
    if logits is None or f"{BOTTOM_UP}stem.conv1_1.weight" not in content:
        return None
    cfg = get_config("paper")
    cfg.INPUT.MIN_SIZE_TEST = _TEST_SIDE
    cfg.merge_from_list(_PUBLISHED.get(len(logits), []))
    for name in ("pixel_mean", "pixel_std"):
        if name in content:
            cfg.MODEL[name.upper()] = _rounded(content[name].flatten())
    boxes = [content[name] for name in sorted(content) if name.startswith(_ANCHORS)]
    if boxes:
        _set_anchors(cfg, boxes, path)
    return cfg


def _set_anchors(cfg, boxes, path):
    """Set the anchors of a configuration from their boxes, one tensor of shape (n, 4) a level."""
    sides = [(level[:, 2:] - level[:, :2]).double() for level in boxes]
    generator = cfg.MODEL.ANCHOR_GENERATOR
    generator.SIZES = [list(dict.fromkeys(_rounded(side.prod(1).sqrt()))) for side in sides]
    generator.ASPECT_RATIOS = [list(dict.fromkeys(_rounded(sides[0][:, 1] / sides[0][:, 0])))]
    # LIVECell has a sixth level: two sizes at p2
    cfg.MODEL.RPN.IN_FEATURES = ["p2"] * (len(boxes) - len(_LEVELS)) + _LEVELS
    known = len(boxes) in (5, 6) and all((side > 0).all() for side in sides)
    if not known or not _agree(_anchors(cfg), boxes):
        raise DeepMuCSError(
            f"{path}: its anchors ({_ANCHORS}0 to {len(boxes) - 1}) are not sizes by ratios on "
            "5 or 6 levels; is it for another model?"
        )


def _rounded(values):
    return [round(value, 4) for value in values.tolist()]


def _anchors(cfg):
    """Boxes of a configuration's anchors, one tensor of shape (n, 4) a level, px."""
    levels = [ShapeSpec(stride=1) for _ in cfg.MODEL.RPN.IN_FEATURES]
    return build_anchor_generator(cfg, levels).cell_anchors


def _agree(one, other):
    """Whether a network's anchors are those of a list on the CPU, up to rounding."""
    return len(one) == len(other) and all(
        a.shape == b.shape and torch.allclose(a.cpu(), b, rtol=1e-3)
        for a, b in zip(one, other, strict=True)
    )


def _our_name(name):
    """A parameter's name in this project, from the fork's or timm's.

    Examples
    --------
    >>> _our_name("backbone.bottom_up.res3.0.conv2_offset.weight")
    'backbone.bottom_up.net.layer2.0.conv2.conv.offset.weight'
    >>> _our_name("layer2.0.bn3.weight")
    'backbone.bottom_up.net.layer2.0.bn3.weight'
    """
    if re.match(r"(conv1|bn1|layer[1-4])\.", name):
        return f"{BOTTOM_UP}net.{name}"
    if name.startswith(BOTTOM_UP):
        for theirs, ours in _FORK_TO_TIMM.items():
            name = name.replace(theirs, ours)
    return name


def _fit_config(cfg, checkpoint, keep_classes):
    """Fit a configuration to a checkpoint: its shapes and settings, its classes if kept.

    Returns
    -------
    CfgNode
    """
    settings, tensors = checkpoint.settings, checkpoint.tensors
    if settings is not None:
        cfg.MODEL.ANCHOR_GENERATOR = settings.MODEL.ANCHOR_GENERATOR
        cfg.MODEL.RPN.IN_FEATURES = settings.MODEL.RPN.IN_FEATURES
        cfg.MODEL.PIXEL_MEAN = settings.MODEL.PIXEL_MEAN
        cfg.MODEL.PIXEL_STD = settings.MODEL.PIXEL_STD
        cfg.INPUT.MIN_SIZE_TEST = settings.INPUT.MIN_SIZE_TEST
    full = tensors.get("roi_heads.box_head.0.fc1.weight")
    if full is not None:  # 7 × 7 in LIVECell's file, 14 × 14 in earlier revisions of it
        pixels = full.shape[1] // cfg.MODEL.ROI_BOX_HEAD.CONV_DIM
        cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = round(pixels**0.5)
    scores = tensors.get("roi_heads.box_predictor.0.cls_score.bias")
    if keep_classes and scores is not None:  # one for each class and one for the background
        names = ["cell"] if len(scores) == 2 else [f"class {k}" for k in range(1, len(scores))]
        set_categories(cfg, [{"id": k, "name": name} for k, name in enumerate(names, start=1)])
    return cfg


def load_into(network, checkpoint) -> dict:
    """Load a checkpoint into a network and account for all tensors.

    The log says, as a warning, how many tensors start anew and why.

    Parameters
    ----------
    network : GeneralizedRCNN
        Changed in place.
    checkpoint : Checkpoint

    Returns
    -------
    dict
        The content of ``weights.json``: ``source``, the checkpoint; ``loaded``, the tensors of the
        network taken from it; ``initialised``, those that keep their initial values, with the
        reason; ``unused``, the tensors of the checkpoint without a use, with the reason.

    Raises
    ------
    DeepMuCSError
        Naming the first tensor that has no place, no counterpart or the wrong shape.
    """
    source, tensors = checkpoint.source, checkpoint.tensors
    own, other_anchors = network.state_dict(), _other_anchors(network, checkpoint.settings)
    headless = not any(name.startswith("roi_heads.") for name in tensors)
    initialised, unused, chosen = {}, {}, {}
    for name, tensor in tensors.items():
        if name in own:
            chosen[name] = tensor
        elif _CONSTANTS.fullmatch(name):
            unused[name] = "a constant; the configuration gives it"
        elif headless and name in ("fc.weight", "fc.bias"):
            unused[name] = "scores of ImageNet's classes"
        else:
            raise DeepMuCSError(
                f"{source}: tensor {name} has no place in this network; is it for another model?"
            )
    for name, target in own.items():
        if name not in chosen:
            initialised[name] = _why_missing(name, headless, source)
        elif name.startswith(_MASKS) and len(chosen[name]) == 1:  # one class's masks for each
            chosen[name] = chosen[name].expand_as(target).clone()
        elif other_anchors and _RPN.fullmatch(name):
            del chosen[name]
            initialised[name] = unused[name] = other_anchors
        elif chosen[name].shape != target.shape:
            reason = _why_different(name, chosen.pop(name), target, source)
            initialised[name] = unused[name] = reason
    network.load_state_dict(own | chosen)
    if initialised and comm.is_main_process():
        reasons = Counter(re.split("[:;]", reason)[0] for reason in initialised.values())
        logging.getLogger(__name__).warning(
            f"{source}: {len(chosen)} tensors loaded, {len(initialised)} start anew: "
            + ", ".join(f"{number} for {reason}" for reason, number in reasons.items())
            + f"; {REPORT} in the run names them."
        )
    return {
        "source": str(source),
        "loaded": sorted(chosen),
        "initialised": initialised,
        "unused": unused,
    }


def _other_anchors(network, settings):
    """Why a proposal network's outputs start anew: an empty string if they don't."""
    rpn = network.proposal_generator
    if settings is None or (
        list(rpn.in_features) == list(settings.MODEL.RPN.IN_FEATURES)
        and _agree(rpn.anchor_generator.cell_anchors, _anchors(settings))
    ):
        return ""
    generator = settings.MODEL.ANCHOR_GENERATOR
    return (
        f"other anchors of the proposal network: {_listed(generator.SIZES)} px at "
        f"{', '.join(settings.MODEL.RPN.IN_FEATURES)}, height / width "
        f"{_listed(generator.ASPECT_RATIOS)}"
    )


def _listed(levels):
    return ", ".join(f"{value:g}" for level in levels for value in level)


def _why_missing(name, headless, source):
    if name.endswith("num_batches_tracked"):
        return "a counter; it starts at zero"
    if headless and ".conv2.conv.offset." in name:
        return "no deformable convolution in the classifier; it starts without displacement"
    if headless and not name.startswith(BOTTOM_UP):
        return "no detector in the checkpoint"
    raise DeepMuCSError(f"{source}: lacks tensor {name}; is it for another model?")


def _why_different(name, tensor, target, source):
    found, expected = list(tensor.shape), list(target.shape)
    for choice, pattern in _CHOICES.items():
        if pattern.fullmatch(name):
            return f"other {choice}: shape {found}, here {expected}"
    raise DeepMuCSError(
        f"{source}: tensor {name} has shape {found}, expected {expected}; is it for another model?"
    )
