"""ROIAlign as a sparse product: the values and gradients of torchvision's."""

import pytest
import torch
from detectron2.layers import ROIAlign
from detectron2.modeling import build_model
from hypothesis import given, settings
from hypothesis import strategies as st

from deepmucs_utils.segmentation.roi_align import SparseROIAlign
from tests.tiny import tiny_config

EDGES = st.floats(-40, 120, width=32)
BOXES = st.lists(
    st.tuples(st.integers(0, 1), EDGES, EDGES, st.floats(0, 90), st.floats(0, 90)), max_size=6
)


def both(boxes, *options):
    """Bins and gradients of detectron2's and of ours, on two maps of 15 × 20 cells of 4 px."""
    draws = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 3, 15, 20, generator=draws)
    regions = torch.tensor([[n, x, y, x + w, y + h] for n, x, y, w, h in boxes]).reshape(-1, 5)
    for kind in (ROIAlign, SparseROIAlign):
        own = pixels.clone().requires_grad_()
        bins = kind((4, 5), 0.25, *options)(own, regions)
        weights = torch.randn(bins.shape, generator=torch.Generator().manual_seed(1))
        (gradient,) = torch.autograd.grad((bins * weights).sum(), own)
        yield bins.detach(), gradient


@settings(max_examples=60, deadline=None)
@given(BOXES, st.sampled_from([0, 1, 2]), st.booleans())
def test_bins_and_gradients_are_those_of_torchvision(boxes, sampling, aligned):
    theirs, ours = both(boxes, sampling, aligned)
    for one, other in zip(theirs, ours, strict=True):
        assert torch.allclose(one, other, atol=2e-4)


def test_regions_of_one_batch_may_differ_in_their_number_of_samples():
    boxes = [(0, 3, 5, 4, 90), (1, 10, 2, 6, 6), (1, 0, 0, 80, 60)]
    theirs, ours = both(boxes, 0, True)
    for one, other in zip(theirs, ours, strict=True):
        assert torch.allclose(one, other, atol=2e-5)


@pytest.mark.parametrize("boxes", [[], [(0, -300, -300, 9, 9)]])
def test_regions_without_a_pixel_have_empty_bins_and_no_gradient(boxes):
    _, (bins, gradient) = both(boxes, 0, True)
    assert not bins.any() and not gradient.any()


def test_the_heads_take_it():
    heads = build_model(tiny_config()).roi_heads
    poolers = [*heads.box_pooler.level_poolers, *heads.mask_pooler.level_poolers]
    assert {type(pooler) for pooler in poolers} == {SparseROIAlign}
