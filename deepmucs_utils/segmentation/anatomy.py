"""Looking inside the network: what its parts do to one image.

What the notebooks on the network show comes from here: which share of a feature each split of a
block gives, where a deformable convolution samples, which anchors meet which cells, and how the
three stages of the cascade move a box.
"""

from dataclasses import dataclass

import numpy as np
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import build_anchor_generator
from detectron2.structures import Boxes, pairwise_iou

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.segmentation.resnest import STAGES
from deepmucs_utils.segmentation.samples import rescale, to_tensor


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
def sampling_places(model, cfg, image, stage, place):
    """Find where a stage's last deformable convolution samples.

    Parameters
    ----------
    model : GeneralizedRCNN
    cfg : CfgNode
    image : ndarray of uint8, shape (h, w)
    stage : {"res3", "res4", "res5"}
    place : tuple of float
        Row and column in the image, px; the nearest output pixel is taken.

    Returns
    -------
    Sampling

    Raises
    ------
    DeepMuCSError
        If the stage has no deformable convolution.
    """
    number = STAGES.index(stage)
    conv = model.backbone.bottom_up.net[f"layer{number + 1}"][-1].conv2.conv
    if not hasattr(conv, "sampling"):
        raise DeepMuCSError(f"stage {stage}: has no deformable convolution; take another one.")
    (x,) = _inputs_of(conv, model, cfg, image)
    displacement, modulation = conv.sampling(x)
    stride = image.shape[0] / _scaled_height(image, cfg) * 2 ** (number + 2)
    row, column = (
        min(int(p / stride), size - 1) for p, size in zip(place, x.shape[2:], strict=True)
    )
    taps = displacement[0, :, row, column].reshape(-1, 9, 2).numpy()
    steps = np.stack(np.mgrid[-1:2, -1:2], -1).reshape(9, 2)
    grid = np.array([row, column]) + steps * conv.dilation[0]
    return Sampling(
        ((row + 0.5) * stride, (column + 0.5) * stride),
        (grid + 0.5) * stride,
        (grid + taps + 0.5) * stride,
        modulation[0, :, row, column].reshape(-1, 9).numpy(),
    )


@torch.no_grad()
def split_shares(model, cfg, image):
    """What share of each feature comes from the first of a block's two splits.

    Parameters
    ----------
    model : GeneralizedRCNN
    cfg : CfgNode
    image : ndarray of uint8, shape (h, w)

    Returns
    -------
    dict of str to ndarray, shape (channels,)
        By stage, for its last block; 0 to 1, one half where attention is indifferent.
    """
    shares = {}
    for number, stage in enumerate(STAGES, start=1):
        attention = model.backbone.bottom_up.net[f"layer{number}"][-1].conv2
        (scores,) = _inputs_of(attention.rsoftmax, model, cfg, image)
        both = attention.rsoftmax(scores).reshape(attention.radix, -1)
        shares[stage] = both[0].numpy()
    return shares


@torch.no_grad()
def feature_maps(model, cfg, image):
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
    return {name: x[0].square().mean(0).sqrt().numpy() for name, x in levels.items()}


def anchor_match(cfg, boxes, shape):
    """The best anchor of each box.

    Parameters
    ----------
    cfg : CfgNode
        Its anchors are laid out as on the pyramid.
    boxes : array_like, shape (n, 4)
        x and y of two corners, px.
    shape : tuple of int
        Height and width of the image, px.

    Returns
    -------
    dict of str to ndarray, shape (n,)
        ``iou`` with the best anchor, its ``size`` (px) and ``ratio`` (height / width), and
        ``positive``: how many anchors have the IoU that makes a positive.
    """
    strides = [4, 8, 16, 32, 64]
    levels = [ShapeSpec(stride=stride) for stride in strides]
    generator = build_anchor_generator(cfg, levels)
    maps = [torch.zeros(1, 1, *(-(-side // stride) for side in shape)) for stride in strides]
    anchors = generator(maps)
    sizes = np.concatenate(
        [np.full(len(a), s[0]) for a, s in zip(anchors, _per_level(cfg, "SIZES"), strict=True)]
    )
    ratios = np.concatenate(
        [
            np.resize(r, len(a))
            for a, r in zip(anchors, _per_level(cfg, "ASPECT_RATIOS"), strict=True)
        ]
    )
    overlap = pairwise_iou(
        Boxes(torch.as_tensor(np.asarray(boxes, dtype=np.float32))), Boxes.cat(anchors)
    ).numpy()
    best = overlap.argmax(1)
    least = cfg.MODEL.RPN.IOU_THRESHOLDS[1]
    return {
        "iou": overlap.max(1),
        "size": sizes[best],
        "ratio": ratios[best],
        "positive": (overlap >= least).sum(1),
    }


def _per_level(cfg, key):
    values = cfg.MODEL.ANCHOR_GENERATOR[key]
    return values if len(values) == 5 else values * 5


@torch.no_grad()
def cascade_boxes(model, cfg, image):
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
    model.eval()
    images = _preprocess(model, cfg, image)
    features = model.backbone(images.tensor)
    proposals, _ = model.proposal_generator(images, features, None)
    heads = model.roi_heads
    levels = [features[name] for name in heads.box_in_features]
    boxes, scores = [proposals[0].proposal_boxes.tensor], []
    for stage in range(heads.num_cascade_stages):
        if stage:
            proposals = heads._create_proposals_from_boxes([boxes[-1]], images.image_sizes)
        predictions = heads._run_stage(levels, proposals, stage)
        boxes += heads.box_predictor[stage].predict_boxes(predictions, proposals)
        scores += [
            probabilities[:, :-1]
            for probabilities in heads.box_predictor[stage].predict_probs(predictions, proposals)
        ]
    factor = image.shape[0] / _scaled_height(image, cfg)
    return torch.stack(boxes).numpy() * factor, torch.stack(scores).numpy()


def follow_cells(boxes, truth, least=0.3):
    """Follow the proposals that lie on a cell through the cascade.

    Parameters
    ----------
    boxes : ndarray, shape (stages + 1, n, 4)
        From `cascade_boxes`.
    truth : array_like, shape (cells, 4)
        x and y of two corners, px.
    least : float
        IoU with a cell from which a proposal lies on it.

    Returns
    -------
    rows : ndarray of int, shape (m,)
        Proposals that lie on a cell.
    cells : ndarray of int, shape (m,)
        The cell of each.
    overlap : ndarray of float, shape (stages + 1, m)
        IoU of its box with the cell, before the cascade and after each stage.
    """
    cells = Boxes(torch.as_tensor(np.asarray(truth, dtype=np.float32)))
    by_stage = np.stack(
        [pairwise_iou(Boxes(torch.as_tensor(stage)), cells).numpy() for stage in boxes]
    )
    best = by_stage[0].argmax(1)
    rows = np.flatnonzero(by_stage[0].max(1) >= least)
    return rows, best[rows], by_stage[:, rows, best[rows]]


def _scaled_height(image, cfg):
    return rescale(image, cfg.INPUT.MIN_SIZE_TEST)[0].shape[0]


def _preprocess(model, cfg, image):
    scaled, _ = rescale(image, cfg.INPUT.MIN_SIZE_TEST)
    return model.preprocess_image([{"image": to_tensor(scaled)}])


def _inputs_of(module, model, cfg, image):
    """What a part of the backbone is given for an image."""
    found = []
    hook = module.register_forward_pre_hook(lambda _, inputs: found.append(inputs))
    try:
        model.eval().backbone.bottom_up(_preprocess(model, cfg, image).tensor)
    finally:
        hook.remove()
    return found[0]
