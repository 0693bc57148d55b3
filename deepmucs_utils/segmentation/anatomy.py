"""Looking inside the network: what its parts do to one image.

What the notebooks on the network show comes from here: what split attention makes of the two
versions of a feature, where a deformable convolution samples, which anchors meet which cells, where
the proposal network sees cells, and how the three stages of the cascade move a box.
"""

from dataclasses import dataclass

import numpy as np
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, pairwise_iou

from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.segmentation.resnest import STAGES
from deepmucs_utils.segmentation.samples import rescale, to_tensor


def new_model(cfg, seed=0):
    """The network of a configuration as a training begins with it.

    Parameters
    ----------
    cfg : CfgNode
    seed : int
        Of its random weights.

    Returns
    -------
    GeneralizedRCNN
    """
    torch.manual_seed(seed)
    return build_model(cfg)


def parameter_counts(network):
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

    def count(*modules):
        return sum(p.numel() for module in modules for p in module.parameters())

    heads, backbone = network.roi_heads, count(network.backbone.bottom_up)
    counts = {
        "backbone": backbone,
        "FPN": count(network.backbone) - backbone,
        "proposals": count(network.proposal_generator),
        "box heads": count(heads.box_head, heads.box_predictor),
        "mask head": count(heads.mask_head),
    }
    return counts | {"together": sum(counts.values())}


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
    taps = displacement[0, :, row, column].reshape(-1, 9, 2).cpu().numpy()
    steps = np.stack(np.mgrid[-1:2, -1:2], -1).reshape(9, 2)
    grid = np.array([row, column]) + steps * conv.dilation[0]
    return Sampling(
        ((row + 0.5) * stride, (column + 0.5) * stride),
        (grid + 0.5) * stride,
        (grid + taps + 0.5) * stride,
        modulation[0, :, row, column].reshape(-1, 9).cpu().numpy(),
    )


@dataclass(frozen=True)
class Attention:
    """What split attention does in the last block of a stage, for one image.

    Parameters
    ----------
    splits : ndarray of float32, shape (2, channels, h, w)
        The two versions of each feature.
    share : ndarray of float32, shape (channels,)
        Weight of the first version, 0 to 1; the second one's is the rest.
    """

    splits: np.ndarray
    share: np.ndarray

    def mix(self):
        """The features that the block goes on with, shape (channels, h, w)."""
        first, second = self.splits
        return self.share[:, None, None] * first + (1 - self.share[:, None, None]) * second

    def clearest(self):
        """Three channels: the one most for the second split, the least decided, most for the first.

        Channels without a feature anywhere in the image, in either split, are passed over.

        Returns
        -------
        list of int
        """
        alive = np.flatnonzero(self.splits.max((2, 3)).min(0) > 0)
        order = alive[np.argsort(self.share[alive])]
        between = alive[np.abs(self.share[alive] - 0.5).argmin()]
        return [int(order[0]), int(between), int(order[-1])]


@torch.no_grad()
def split_attention(model, cfg, image, stage):
    """Look at the last split attention of a stage while the network sees an image.

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
    part = model.backbone.bottom_up.net[f"layer{STAGES.index(stage) + 1}"][-1].conv2
    # What attention is computed from, and the scores of both splits before their softmax.
    features = _outputs_of(part.act0, model, cfg, image)
    (scores,) = _inputs_of(part.rsoftmax, model, cfg, image)
    share = part.rsoftmax(scores).reshape(part.radix, -1)[0]
    splits = features.reshape(part.radix, -1, *features.shape[2:])
    return Attention(splits.cpu().numpy(), share.cpu().numpy())


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
    return {name: x[0].square().mean(0).sqrt().cpu().numpy() for name, x in levels.items()}


def best_anchors(cfg, boxes, shape):
    """The best anchor of each box, without laying out all of them.

    Of all places on its level's grid an anchor overlaps a box most where their centres are nearest
    in x and in y; so one place a size and ratio is looked at.

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
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    kinds, overlaps = [], []
    for stride, sizes, ratios in _levels(cfg):
        last = -(-np.asarray(shape)[..., ::-1] // stride) - 1
        places = stride * np.minimum(np.rint(centres / stride), last)
        for size in sizes:
            for ratio in ratios:
                half = np.array([size / ratio**0.5, size * ratio**0.5]) / 2
                low = np.maximum(boxes[:, :2], places - half)
                high = np.minimum(boxes[:, 2:], places + half)
                shared = np.maximum(high - low, 0).prod(1)
                either = (boxes[:, 2:] - boxes[:, :2]).prod(1) + size**2 - shared
                kinds.append((size, ratio))
                overlaps.append(shared / either)
    best = np.argmax(overlaps, axis=0)
    size, ratio = np.array(kinds, float)[best].T
    return {"iou": np.max(overlaps, axis=0), "size": size.astype(int), "ratio": ratio}


def _levels(cfg):
    """Stride, sizes and ratios of the anchors of p2 to p6."""
    generator = cfg.MODEL.ANCHOR_GENERATOR
    sizes, ratios = (v if len(v) > 1 else v * 5 for v in (generator.SIZES, generator.ASPECT_RATIOS))
    return list(zip((4, 8, 16, 32, 64), sizes, ratios, strict=True))


@torch.no_grad()
def objectness(model, cfg, image):
    """How sure the proposal network is, at each place of each level, that a cell is there.

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
    boxes, scores = (torch.stack(found).cpu().numpy() for found in (boxes, scores))
    return boxes * factor, scores


def overlap(boxes, truth):
    """IoU of each box with each cell's; ndarray of float, shape (boxes, cells)."""
    one, other = (Boxes(torch.as_tensor(np.asarray(b, np.float32))) for b in (boxes, truth))
    return pairwise_iou(one, other).numpy().astype(float)


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
    by_stage = np.stack([overlap(stage, truth) for stage in boxes])
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
    return _seen(module, model, cfg, image)[0]


def _outputs_of(module, model, cfg, image):
    """What a part of the backbone gives for an image."""
    return _seen(module, model, cfg, image)[1]


def _seen(module, model, cfg, image):
    found = []
    hook = module.register_forward_hook(lambda _, inputs, output: found.append((inputs, output)))
    try:
        model.eval().backbone.bottom_up(_preprocess(model, cfg, image).tensor)
    finally:
        hook.remove()
    return found[0]
