"""What mixed precision must not round: regions, scores and deltas."""

import sys

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.modeling.proposal_generator import rpn
from detectron2.structures import Boxes, Instances, pairwise_iou
from detectron2.utils.events import EventStorage

from deepmucs_utils.segmentation import seeded_heads
from deepmucs_utils.segmentation.samples import CoCultureSet, Samples
from tests.tiny import tiny_config, write_set

ROI_ALIGN = sys.modules["detectron2.layers.roi_align"]  # a function hides the module's name


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_model(tiny_config())


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    source = CoCultureSet(write_set(tmp_path_factory.mktemp("sets") / "tiny"))
    samples = Samples(source, tiny_config(), 0)
    return [samples[0, index] for index in range(2)]


def spied(monkeypatch, module, name):
    """Arguments of each call of a function of a module."""
    function, calls = getattr(module, name), []

    def spy(*args, **options):
        calls.append(args)
        return function(*args, **options)

    monkeypatch.setattr(module, name, spy)
    return calls


@pytest.mark.parametrize("training", [True, False])
def test_in_mixed_precision_regions_and_scores_are_single(network, batch, monkeypatch, training):
    regions = []
    for pooler in (network.roi_heads.box_pooler, network.roi_heads.mask_pooler):
        for align in pooler.level_poolers:
            align.register_forward_pre_hook(lambda _, inputs: regions.append(inputs))
    where = rpn if training else seeded_heads
    proposals = spied(monkeypatch, where, "find_top_rpn_proposals")
    found = []
    for predictor in network.roi_heads.box_predictor:
        predictor.register_forward_hook(lambda _, __, outputs: found.extend(outputs))
    network.train(training)
    with torch.autocast("cpu", torch.bfloat16), EventStorage(0):
        network(batch)
    levels = [level for boxes, logits, *_ in proposals for level in (*boxes, *logits)]
    sampled = [tensor for inputs in regions for tensor in inputs]
    assert len(regions) == 4 * 4 and len(found) == 6
    assert {tensor.dtype for tensor in (*levels, *sampled, *found)} == {torch.float32}


def test_cells_far_to_the_right_stay_where_they_are(network, monkeypatch):
    """Boxes of 10 to 26 px at up to 700 px; in bfloat16 they moved by up to 2 px."""
    heads, rng = network.eval().roi_heads, torch.Generator().manual_seed(0)
    corners = torch.rand(300, 2, generator=rng) * torch.tensor([670.0, 480.0])
    sides = 10 + 16 * torch.rand(300, 2, generator=rng)
    cells = Instances((520, 704), proposal_boxes=Boxes(torch.hstack([corners, corners + sides])))
    features = {
        f"p{level}": torch.rand(1, 64, 520 >> level, 704 >> level, generator=rng).bfloat16()
        for level in range(2, 7)
    }
    calls = spied(monkeypatch, ROI_ALIGN, "roi_align")
    with torch.autocast("cpu", torch.bfloat16):
        heads(None, features, [cells])
    seen = Boxes(calls[0][1][:, 1:].float())  # on p2, by the first stage
    assert pairwise_iou(seen, cells.proposal_boxes).diagonal().mean() == 1


def test_twenty_thousand_anchors_have_as_many_scores(network):
    """In bfloat16 they share a few hundred values, and the best ones cannot be told."""
    generator = network.proposal_generator
    features = {f"p{k}": torch.randn(1, 64, 256 >> k, 256 >> k).bfloat16() for k in range(2, 7)}
    calls = []
    generator.rpn_head.register_forward_hook(lambda _, __, outputs: calls.append(outputs))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        images = type("Images", (), {"tensor": features["p2"], "image_sizes": [(256, 256)]})
        generator.eval()(images, features)
    scores = calls[0][0][0].flatten()
    assert len(scores) == 20480 and len(scores.unique()) > 19000
