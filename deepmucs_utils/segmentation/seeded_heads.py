"""Proposal generator and heads with one random stream per image.

Training samples some of the anchors, and later some of the proposals, of each image at random.
detectron2 draws them from the global stream, so the sample depends on which images share a batch
and a process. Here each image has a seed: the same images give the same losses however they are
distributed over processes, and a resumed training gives the same weights.
"""

import torch
from detectron2.modeling import PROPOSAL_GENERATOR_REGISTRY, ROI_HEADS_REGISTRY
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import CascadeROIHeads


class _SeededByImage:
    """Seeds of the images of the next batch; without them the global stream is used."""

    image_seeds = None

    def _seed(self, position):
        if self.image_seeds is not None:
            torch.manual_seed(self.image_seeds[position])


@PROPOSAL_GENERATOR_REGISTRY.register()
class SeededRPN(_SeededByImage, RPN):
    """detectron2's RPN; the sample of an image's anchors depends on the image's seed."""

    def label_and_sample_anchors(self, anchors, gt_instances):
        labels, boxes = [], []
        for position, instances in enumerate(gt_instances):
            self._seed(position)
            one = super().label_and_sample_anchors(anchors, [instances])
            labels += one[0]
            boxes += one[1]
        return labels, boxes


@ROI_HEADS_REGISTRY.register()
class SeededCascadeROIHeads(_SeededByImage, CascadeROIHeads):
    """detectron2's CascadeROIHeads; the sample of proposals depends on the image's seed."""

    def label_and_sample_proposals(self, proposals, targets):
        sampled = []
        for position, pair in enumerate(zip(proposals, targets, strict=True)):
            self._seed(position)
            sampled += super().label_and_sample_proposals([pair[0]], [pair[1]])
        return sampled


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
