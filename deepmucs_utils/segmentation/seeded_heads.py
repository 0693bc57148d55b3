"""Proposal generator and heads that treat each image on its own: its random stream, its limits.

Training samples some of the anchors, and later some of the proposals, of each image at random.
detectron2 draws them from the global stream, so the sample depends on which images share a batch
and a process. Here each image has a seed: the same images give the same losses however they are
distributed over processes, and a resumed training gives the same weights.

At test detectron2 allows every image the same number of proposals and detections. Here a large
image may have more than a small one, in proportion to its area.

In mixed precision detectron2 rounds boxes to the type of the features, bfloat16: beyond 512 px to
whole 4 px, a third of a small cell. Here regions are found, and features sampled in them, in
float32; so are the scores and deltas that the boxes are chosen and moved by. The convolutions of
the box and mask heads, which are most of their work, stay in bfloat16.
"""

import torch
from detectron2.modeling import PROPOSAL_GENERATOR_REGISTRY, ROI_HEADS_REGISTRY
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.proposal_generator.proposal_utils import find_top_rpn_proposals
from detectron2.modeling.roi_heads import CascadeROIHeads, select_foreground_proposals
from detectron2.modeling.roi_heads.cascade_rcnn import _ScaleGradient
from torch import nn

from deepmucs_utils.segmentation.roi_align import SparseROIAlign

MOST_GROWTH = 30  # of `small`'s 100 detections: 3,000, as many as LIVECell allows


class _OfEachImage:
    """Seeds of the images of the next batch, without which the global stream is used; limits."""

    image_seeds = None

    def __init__(self, cfg, input_shape):
        super().__init__(cfg, input_shape)
        self.limits_area = cfg.TEST.LIMITS_AREA

    def _seed(self, position):
        if self.image_seeds is not None:
            torch.manual_seed(self.image_seeds[position])

    def limit(self, number, size):
        """What a limit of the configuration is for an image of ``size`` (height, width), in px."""
        if not self.limits_area:
            return number
        growth = size[0] * size[1] / self.limits_area
        return round(number * min(max(growth, 1), MOST_GROWTH))


@PROPOSAL_GENERATOR_REGISTRY.register()
class SeededRPN(_OfEachImage, RPN):
    """detectron2's RPN; an image's sample of anchors and its number of proposals are its own."""

    def forward(self, images, features, gt_instances=None):
        with torch.autocast(images.tensor.device.type, enabled=False):
            return super().forward(images, _in_float32(features), gt_instances)

    def label_and_sample_anchors(self, anchors, gt_instances):
        labels, boxes = [], []
        for position, instances in enumerate(gt_instances):
            self._seed(position)
            one = super().label_and_sample_anchors(anchors, [instances])
            labels += one[0]
            boxes += one[1]
        return labels, boxes

    @torch.no_grad()
    def predict_proposals(self, anchors, logits, deltas, image_sizes):
        if self.training:
            return super().predict_proposals(anchors, logits, deltas, image_sizes)
        boxes, proposals = self._decode_proposals(anchors, deltas), []
        for k, size in enumerate(image_sizes):
            levels = ([level[k : k + 1] for level in levels] for levels in (boxes, logits))
            limits = (
                self.limit(topk[False], size) for topk in (self.pre_nms_topk, self.post_nms_topk)
            )
            proposals += find_top_rpn_proposals(
                *levels, [size], self.nms_thresh, *limits, self.min_box_size, training=False
            )
        return proposals


@ROI_HEADS_REGISTRY.register()
class SeededCascadeROIHeads(_OfEachImage, CascadeROIHeads):
    """detectron2's CascadeROIHeads; an image's sample of proposals and its detections are its own.

    Attributes
    ----------
    cut : list of bool
        Whether an image of the last batch had more detections than its limit, the best of which
        were kept.
    """

    def __init__(self, cfg, input_shape):
        super().__init__(cfg, input_shape)
        self.detections, self.cut = cfg.TEST.DETECTIONS_PER_IMAGE, []
        for predictor in self.box_predictor:
            predictor.test_topk_per_image = -1  # all; `_forward_box` cuts them
        self.mask_regions = cfg.MODEL.ROI_MASK_HEAD.REGIONS_PER_IMAGE
        self.mask_head.deconv_relu.inplace = True  # no second copy of the largest map
        for pooler in (self.box_pooler, self.mask_pooler):
            pooler.level_poolers = nn.ModuleList(map(SparseROIAlign.of, pooler.level_poolers))

    def forward(self, images, features, proposals, targets=None):
        return super().forward(images, _in_float32(features), proposals, targets)

    def _run_stage(self, features, proposals, stage):
        """detectron2's, with the last layers, scores and deltas, in float32."""
        pooled = self.box_pooler(features, [one.proposal_boxes for one in proposals])
        if self.training:
            pooled = _ScaleGradient.apply(pooled, 1.0 / self.num_cascade_stages)
        found = self.box_head[stage](pooled)
        with torch.autocast(found.device.type, enabled=False):
            return self.box_predictor[stage](found.float())

    def label_and_sample_proposals(self, proposals, targets):
        sampled = []
        for position, pair in enumerate(zip(proposals, targets, strict=True)):
            self._seed(position)
            sampled += super().label_and_sample_proposals([pair[0]], [pair[1]])
        return sampled

    def _forward_mask(self, features, instances):
        if self.training and self.mask_regions:
            cells = select_foreground_proposals(instances, self.num_classes)[0]
            instances = [own[: self.mask_regions] for own in cells]
        return super()._forward_mask(features, instances)

    def _forward_box(self, features, proposals, targets=None):
        found = super()._forward_box(features, proposals, targets)
        if self.training:
            return found
        limits = [self.limit(self.detections, one.image_size) for one in found]
        self.cut = [len(one) > limit for one, limit in zip(found, limits, strict=True)]
        return [one[:limit] for one, limit in zip(found, limits, strict=True)]


def _in_float32(features):
    """Feature maps by name, for sampling: ROIAlign rounds boxes to the type of the features."""
    return {name: level.float() for name, level in features.items()}


def set_image_seeds(model, seeds):
    """Give the images of the next batch their seeds.

    Parameters
    ----------
    model : GeneralizedRCNN
    seeds : sequence of int
        One for each image of the batch, in its order.
    """
    for part in (model.proposal_generator, model.roi_heads):
        part.image_seeds = tuple(seeds)
