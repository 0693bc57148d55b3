"""Weights from elsewhere: published checkpoints under this project's parameter names.

Three kinds are read: checkpoints of the ResNeSt authors' detectron2 fork (their COCO models and
LIVECell's anchor-based ones), timm's ImageNet classifiers, and models trained here. Every tensor
of the checkpoint and of the network is accounted for: loaded, initialised with the reason, or an
error.
"""

import re
from pathlib import Path

import torch
from detectron2.modeling import build_model

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.files import write_json
from deepmucs_utils.segmentation.config import get_config, set_categories
from deepmucs_utils.segmentation.run_files import BEST, CONFIG, load, save, write_config

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
#: Entries of a checkpoint that the configuration determines.
_CONSTANTS = re.compile(r"pixel_(mean|std)|proposal_generator\.anchor_generator\.cell_anchors\.\d+")
_MASKS = "roi_heads.mask_head.predictor."
#: Tensors whose shape depends on a choice of the checkpoint's authors, and the choice.
_CHOICES = {
    "classes": re.compile(r"roi_heads\.(box_predictor\.\d\.cls_score|mask_head\.predictor)\.\w+"),
    "anchors": re.compile(r"proposal_generator\.rpn_head\.(objectness_logits|anchor_deltas)\.\w+"),
}


def convert(source, out, model="paper", keep_classes=False) -> Path:
    """Convert a checkpoint to a run to predict with or to start a training from.

    Parameters
    ----------
    source : path-like
        Checkpoint; nothing in it is executed.
    out : path-like
        Folder of the new run.
    model : {"small", "resnest50", "paper"}
        The network that the checkpoint is for.
    keep_classes : bool
        Keep the checkpoint's number of classes instead of the eight cultures; the model then
        predicts as the original does.

    Returns
    -------
    Path
        ``out``, with ``config.yaml``, ``best.pth`` and ``weights.json``, which accounts for every
        tensor.

    Raises
    ------
    DeepMuCSError
        If the file holds more than tensors, has a tensor without a place, or lacks one.
    """
    out = Path(out)
    if (out / CONFIG).exists():
        raise DeepMuCSError(f"{out}: holds a run; take another folder.")
    tensors = read_tensors(source)
    cfg = _fit_config(get_config(model), tensors, keep_classes)
    cfg.MODEL.DEVICE = "cpu"
    network = build_model(cfg)
    report = load_into(network, tensors, source)
    out.mkdir(parents=True, exist_ok=True)
    save({"model": network.state_dict(), "iteration": 0}, out / BEST)
    write_json(out / REPORT, report)
    write_config(cfg, out)
    return out


def read_tensors(source):
    """The tensors of a checkpoint under this project's names.

    Parameters
    ----------
    source : path-like
        A file, or the folder of a run, of which the best weights are read.

    Returns
    -------
    dict of str to Tensor
    """
    source = Path(source)
    content = load(source / BEST if source.is_dir() else source)
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
    return tensors


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


def _fit_config(cfg, tensors, keep_classes):
    """Fit a configuration to a checkpoint's shapes: the box pooler's resolution, classes if kept.

    Returns
    -------
    CfgNode
    """
    full = tensors.get("roi_heads.box_head.0.fc1.weight")
    if full is not None:  # 7 × 7 in LIVECell's file, 14 × 14 in earlier revisions of it
        pixels = full.shape[1] // cfg.MODEL.ROI_BOX_HEAD.CONV_DIM
        cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = round(pixels**0.5)
    scores = tensors.get("roi_heads.box_predictor.0.cls_score.bias")
    if keep_classes and scores is not None:  # one for each class and one for the background
        names = ["cell"] if len(scores) == 2 else [f"class {k}" for k in range(1, len(scores))]
        set_categories(cfg, [{"id": k, "name": name} for k, name in enumerate(names, start=1)])
    return cfg


def load_into(network, tensors, source):
    """Load tensors into a network and account for all of them.

    Parameters
    ----------
    network : GeneralizedRCNN
        Changed in place.
    tensors : dict of str to Tensor
        From `read_tensors`.
    source : path-like
        For messages.

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
    own = network.state_dict()
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
        elif chosen[name].shape != target.shape:
            reason = _why_different(name, chosen.pop(name), target, source)
            initialised[name] = unused[name] = reason
    network.load_state_dict(own | chosen)
    return {
        "source": str(source),
        "loaded": sorted(chosen),
        "initialised": initialised,
        "unused": unused,
    }


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
