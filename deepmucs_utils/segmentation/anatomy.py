"""What the parts of the network do to one image, for the notebooks that explain the network.

These are: how split attention weights the two versions of a feature, where a deformable convolution
samples, which anchors match which cells, where the proposal network sees cells, and how the three
stages of the cascade move a box.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Boxes, pairwise_iou
from torch import nn

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.segmentation.resnest import STAGES
from deepmucs_utils.segmentation.samples import rescale, to_tensor


def new_model(cfg: CfgNode, seed: int = 0) -> nn.Module:
    """The untrained network of a configuration.

    Parameters
    ----------
    cfg : CfgNode
    seed : int
        Seed of the random weights.

    Returns
    -------
    GeneralizedRCNN
    """
    torch.manual_seed(seed)
    return build_model(cfg)


def parameter_counts(network: nn.Module) -> dict[str, int]:
    """Number of parameters of a network's parts.

    Parameters
    ----------
    network : GeneralizedRCNN
        From ``detectron2.modeling.build_model``.

    Returns
    -------
    dict of str to int
        ``backbone`` (with the offsets of its deformable convolutions), ``FPN``, ``proposals``,
        ``box heads``, ``mask head`` and ``together``.
    """
    heads, pyramid = network.roi_heads, network.backbone
    counts = {
        "backbone": _size(pyramid.bottom_up),
        "FPN": _size(pyramid) - _size(pyramid.bottom_up),
        "proposals": _size(network.proposal_generator),
        "box heads": _size(heads.box_head) + _size(heads.box_predictor),
        "mask head": _size(heads.mask_head),
    }
    return counts | {"together": sum(counts.values())}


def _size(module):
    return sum(parameter.numel() for parameter in module.parameters())


@dataclass(frozen=True)
class Sampling:
    """Where the last deformable convolution of a stage samples for one output pixel.

    Parameters
    ----------
    centre : tuple of float
        Row and column of the output pixel, px of the image.
    grid : ndarray, shape (9, 2)
        Row and column of the nine taps without displacement, px of the image.
    places : ndarray, shape (groups, 9, 2)
        Row and column of the taps of each group of channels, px of the image.
    modulation : ndarray, shape (groups, 9)
        Weight of each tap, 0 to 1.
    """

    centre: tuple
    grid: np.ndarray
    places: np.ndarray
    modulation: np.ndarray


@torch.no_grad()
def sampling_places(
    model: nn.Module, cfg: CfgNode, image: np.ndarray, stage: str, place: tuple
) -> Sampling:
    """Find where a stage's last deformable convolution samples.

    Parameters
    ----------
    model : GeneralizedRCNN
    cfg : CfgNode
    image : ndarray of uint8, shape (h, w)
    stage : {"res3", "res4", "res5"}
    place : tuple of float
        Row and column in the image, px; the output pixel there is taken.

    Returns
    -------
    Sampling

    Raises
    ------
    DeepMuCSError
        If the stage has no deformable convolution.
    """
    conv = _last_block(model, stage).conv2.conv
    if not hasattr(conv, "sampling"):
        raise DeepMuCSError(f"stage {stage}: has no deformable convolution; take another stage.")
    (x,), _ = _seen(conv, model, cfg, image)
    displacement, modulation = conv.sampling(x)
    padded = _preprocess(model, cfg, image).tensor.shape[2]
    stride = _scale(cfg, image) * padded / x.shape[2]  # a stage's first block may pool afterwards
    row, column = np.minimum(np.array(place) / stride, np.array(x.shape[2:]) - 1).astype(int)
    taps = displacement[0, :, row, column].reshape(-1, 9, 2).cpu().numpy()
    window = np.stack(np.mgrid[-1:2, -1:2], axis=-1).reshape(9, 2)
    grid = [row, column] + window * conv.window["dilation"]
    return Sampling(
        ((row + 0.5) * stride, (column + 0.5) * stride),
        (grid + 0.5) * stride,
        (grid + taps + 0.5) * stride,
        modulation[0, :, row, column].reshape(-1, 9).cpu().numpy(),
    )


@dataclass(frozen=True)
class Attention:
    """Features and weights of the last split attention of a stage, for one image.

    Parameters
    ----------
    splits : ndarray of float32, shape (2, channels, h, w)
        The two versions of each feature.
    share : ndarray of float32, shape (channels,)
        Weight of the first version, 0 to 1; that of the second is one minus it.
    """

    splits: np.ndarray
    share: np.ndarray

    def mix(self):
        """The weighted sum of both versions, shape (channels, h, w)."""
        first, second = self.splits
        return self.share[:, None, None] * first + (1 - self.share[:, None, None]) * second

    def clearest(self):
        """Three channels: those that weight the second split most, both alike, the first most.

        Channels that are zero in the whole image in either split are skipped.

        Returns
        -------
        list of int
        """
        alive = np.flatnonzero(self.splits.max((2, 3)).min(0) > 0)
        order = alive[np.argsort(self.share[alive])]
        between = alive[np.abs(self.share[alive] - 0.5).argmin()]
        return [int(order[0]), int(between), int(order[-1])]


@torch.no_grad()
def split_attention(model: nn.Module, cfg: CfgNode, image: np.ndarray, stage: str) -> Attention:
    """Record the last split attention of a stage for an image.

    Parameters
    ----------
    model : GeneralizedRCNN
    cfg : CfgNode
    image : ndarray of uint8, shape (h, w)
    stage : {"res2", "res3", "res4", "res5"}

    Returns
    -------
    Attention
    """
    part = _last_block(model, stage).conv2
    # The features that attention is computed from; the scores of both splits before the softmax.
    _, features = _seen(part.act0, model, cfg, image)
    (scores,), _ = _seen(part.rsoftmax, model, cfg, image)
    share = part.rsoftmax(scores).reshape(part.radix, -1)[0]
    splits = features.reshape(part.radix, -1, *features.shape[2:])
    return Attention(splits.cpu().numpy(), share.cpu().numpy())


@torch.no_grad()
def feature_maps(model: nn.Module, cfg: CfgNode, image: np.ndarray) -> dict[str, np.ndarray]:
    """Strength of the features of each stage and of each level of the pyramid.

    Parameters
    ----------
    model : GeneralizedRCNN
    cfg : CfgNode
    image : ndarray of uint8, shape (h, w)

    Returns
    -------
    dict of str to ndarray of float32, shape (h / stride, w / stride)
        For res2 to res5 and p2 to p6, the root mean square over the channels.
    """
    model.eval()
    pixels = _preprocess(model, cfg, image).tensor
    levels = dict(model.backbone.bottom_up(pixels)) | dict(model.backbone(pixels))
    return {name: x[0].square().mean(0).sqrt().cpu().numpy() for name, x in levels.items()}


def best_anchors(cfg: CfgNode, boxes, shape) -> dict[str, np.ndarray]:
    """The best anchor of each box, without generating all anchors.

    Of all places on the grid of its level, an anchor overlaps a box most where the two centres are
    nearest in x and in y. So one place per size and ratio is enough.

    Parameters
    ----------
    cfg : CfgNode
    boxes : array_like, shape (n, 4)
        x and y of two corners, px.
    shape : tuple of int, or ndarray of int, shape (2,) or (n, 2)
        Height and width of the image, or of each box's, px.

    Returns
    -------
    dict of str to ndarray, shape (n,)
        ``iou`` with the best anchor, its ``size`` (px) and ``ratio`` (height / width).
    """
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    centres, areas = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).prod(1)
    generator = cfg.MODEL.ANCHOR_GENERATOR
    sizes, ratios = (v if len(v) > 1 else v * 5 for v in (generator.SIZES, generator.ASPECT_RATIOS))
    kinds, overlaps = [], []
    for stride, *level in zip((4, 8, 16, 32, 64), sizes, ratios, strict=True):  # p2 to p6
        last = -(-np.asarray(shape)[..., ::-1] // stride) - 1
        places = stride * np.minimum(np.rint(centres / stride), last)
        for size, ratio in itertools.product(*level):
            half = np.array([size / ratio**0.5, size * ratio**0.5]) / 2
            low = np.maximum(boxes[:, :2], places - half)
            high = np.minimum(boxes[:, 2:], places + half)
            shared = np.maximum(high - low, 0).prod(1)
            kinds.append((size, ratio))
            overlaps.append(shared / (areas + size**2 - shared))
    size, ratio = np.array(kinds, float)[np.argmax(overlaps, axis=0)].T
    return {"iou": np.max(overlaps, axis=0), "size": size.astype(int), "ratio": ratio}


@torch.no_grad()
def objectness(model: nn.Module, cfg: CfgNode, image: np.ndarray) -> dict[str, np.ndarray]:
    """Objectness: the proposal network's confidence that a cell is at a place, for each level.

    Parameters
    ----------
    model, cfg, image
        See `feature_maps`.

    Returns
    -------
    dict of str to ndarray of float32, shape (h / stride, w / stride)
        For p2 to p6, the largest probability of the anchors of a place.
    """
    features = model.eval().backbone(_preprocess(model, cfg, image).tensor)
    names = model.proposal_generator.in_features
    logits, _ = model.proposal_generator.rpn_head([features[name] for name in names])
    best = [x[0].sigmoid().amax(0).cpu().numpy() for x in logits]
    return dict(zip(names, best, strict=True))


@torch.no_grad()
def cascade_boxes(model: nn.Module, cfg: CfgNode, image: np.ndarray) -> tuple:
    """The boxes of one image before the cascade and after each of its stages.

    Parameters
    ----------
    model : GeneralizedRCNN
    cfg : CfgNode
    image : ndarray of uint8, shape (h, w)

    Returns
    -------
    boxes : ndarray of float32, shape (stages + 1, n, 4)
        x and y of two corners, px of the image; first the proposals.
    scores : ndarray of float32, shape (stages, n, classes)
        Probability of each class by stage.
    """
    images = _preprocess(model.eval(), cfg, image)
    features, heads = model.backbone(images.tensor), model.roi_heads
    proposals, _ = model.proposal_generator(images, features, None)
    levels = [features[name] for name in heads.box_in_features]
    boxes, scores = [proposals[0].proposal_boxes.tensor], []
    for stage, predictor in enumerate(heads.box_predictor):
        if stage:
            proposals = heads._create_proposals_from_boxes(boxes[-1:], images.image_sizes)
        predictions = heads._run_stage(levels, proposals, stage)
        boxes += predictor.predict_boxes(predictions, proposals)
        scores += predictor.predict_probs(predictions, proposals)
    boxes, scores = (torch.stack(found).cpu().numpy() for found in (boxes, scores))
    return boxes * _scale(cfg, image), scores[..., :-1]


def overlap(boxes, truth) -> np.ndarray:
    """IoU of each box with each cell's; ndarray of float, shape (boxes, cells)."""
    one, other = (Boxes(torch.as_tensor(np.asarray(b, np.float32))) for b in (boxes, truth))
    return pairwise_iou(one, other).numpy().astype(float)


def follow_cells(boxes, truth) -> tuple:
    """Follow through the cascade the proposals whose IoU with a cell is at least 0.3.

    Parameters
    ----------
    boxes : ndarray, shape (stages + 1, n, 4)
        From `cascade_boxes`.
    truth : array_like, shape (cells, 4)
        x and y of two corners, px.

    Returns
    -------
    rows : ndarray of int, shape (m,)
        The proposals.
    cells : ndarray of int, shape (m,)
        The cell of each.
    overlap : ndarray of float, shape (stages + 1, m)
        IoU of its box with the cell, before the cascade and after each stage.
    """
    by_stage = np.stack([overlap(stage, truth) for stage in boxes])
    best = by_stage[0].argmax(1)
    rows = np.flatnonzero(by_stage[0].max(1) >= 0.3)
    return rows, best[rows], by_stage[:, rows, best[rows]]


def _last_block(model, stage):
    """The last block of a backbone's stage, such as ``"res4"``."""
    return model.backbone.bottom_up.net[f"layer{STAGES.index(stage) + 1}"][-1]


def _scale(cfg, image):
    """Pixels of the image per pixel that the network sees."""
    return image.shape[0] / rescale(image, cfg.INPUT.MIN_SIZE_TEST)[0].shape[0]


def _preprocess(model, cfg, image):
    scaled, _ = rescale(image, cfg.INPUT.MIN_SIZE_TEST)
    return model.preprocess_image([{"image": to_tensor(scaled)}])


def _seen(module, model, cfg, image):
    """Inputs and output of a part of the backbone for an image."""
    found = []
    hook = module.register_forward_hook(lambda _, inputs, output: found.append((inputs, output)))
    try:
        model.eval().backbone.bottom_up(_preprocess(model, cfg, image).tensor)
    finally:
        hook.remove()
    return found[0]
