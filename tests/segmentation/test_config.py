import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

from deepmucs_utils import MODELS
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.segmentation import add_deepmucs_config, get_config
from deepmucs_utils.segmentation.anatomy import parameter_counts

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])]


@pytest.fixture(scope="module")
def paper():
    cfg = get_config("paper")
    cfg.MODEL.DEVICE = "cpu"
    torch.manual_seed(0)
    return build_model(cfg)


def a_sample(device, size=64):
    """An image with two cells."""
    masks = torch.zeros(2, size, size, dtype=torch.bool)
    masks[0, 8:24, 8:24] = True
    masks[1, 30:50, 20:60] = True
    cells = Instances((size, size))
    cells.gt_masks = BitMasks(masks)
    cells.gt_boxes = Boxes(BitMasks(masks).get_bounding_boxes().tensor)
    cells.gt_classes = torch.tensor([0, 5])
    return {"image": 128 + 12 * torch.randn(3, size, size), "instances": cells.to(device)}


def test_the_paper_has_126_million_parameters_in_the_published_parts(paper):
    counts = parameter_counts(paper)
    assert counts["together"] == sum(parameter.numel() for parameter in paper.parameters())
    assert {part: round(count / 1e6, 1) for part, count in counts.items()} == {
        "backbone": 71.5,
        "FPN": 3.3,
        "proposals": 0.6,
        "box heads": 45.7,
        "mask head": 5.0,
        "together": 126.1,
    }


def test_the_papers_backbone_is_resnest_200(paper):
    net = paper.backbone.bottom_up.net
    assert [len(net[f"layer{k}"]) for k in (1, 2, 3, 4)] == [3, 24, 36, 3]
    stem = [conv for conv in net.conv1 if isinstance(conv, nn.Conv2d)]
    assert [conv.out_channels for conv in stem] == [64, 64, 128]
    for k in (1, 2, 3, 4):
        for number, block in enumerate(net[f"layer{k}"]):
            assert block.radix == 2
            assert (block.avd_last is not None) == (k > 1 and number == 0)
            assert hasattr(block.conv2.conv, "offset") == (k > 1)
    norms = [m for m in paper.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms and all(isinstance(norm, nn.SyncBatchNorm) for norm in norms)
    assert all(parameter.requires_grad for parameter in paper.parameters())


def test_the_papers_anchors_lie_one_size_a_level(paper):
    anchors = paper.proposal_generator.anchor_generator
    assert anchors.strides == [4, 8, 16, 32, 64]
    for size, cells in zip((8, 16, 32, 64, 128), anchors.cell_anchors, strict=True):
        width, height = (cells[:, 2:] - cells[:, :2]).T
        torch.testing.assert_close(height / width, torch.tensor([0.5, 1.0, 2.0, 3.0, 4.0]))
        torch.testing.assert_close(width * height, torch.full((5,), float(size**2)))


def test_the_papers_proposals_and_stages_have_the_published_thresholds(paper):
    rpn, heads = paper.proposal_generator, paper.roi_heads
    assert rpn.anchor_matcher.thresholds[1:-1] == [0.3, 0.7]
    assert rpn.batch_size_per_image == 256
    assert rpn.pre_nms_topk == {True: 12000, False: 6000}
    assert rpn.post_nms_topk == {True: 3000, False: 3000}
    assert rpn.nms_thresh == 0.7
    assert [m.thresholds[1] for m in heads.proposal_matchers] == [0.5, 0.6, 0.7]
    assert [p.box2box_transform.weights for p in heads.box_predictor] == [
        (10.0, 10.0, 5.0, 5.0),
        (20.0, 20.0, 10.0, 10.0),
        (30.0, 30.0, 15.0, 15.0),
    ]
    assert (heads.batch_size_per_image, heads.positive_fraction) == (512, 0.25)
    last = heads.box_predictor[-1]
    assert (last.test_score_thresh, last.test_nms_thresh) == (0.05, 0.5)
    whole = (520, 704)  # px
    assert (
        heads.limit(heads.detections, whole) == rpn.limit(rpn.post_nms_topk[False], whole) == 3000
    )


def test_the_papers_heads_have_the_published_layers(paper):
    heads = paper.roi_heads
    for head, predictor in zip(heads.box_head, heads.box_predictor, strict=True):
        assert [name for name, _ in head.named_children()] == [
            *("conv1", "conv2", "conv3", "conv4", "flatten", "fc1", "fc_relu1")
        ]
        assert head.fc1.weight.shape == (1024, 256 * 7 * 7)
        assert predictor.cls_score.out_features == 9
        assert predictor.bbox_pred.out_features == 4
    convs = [name for name, _ in heads.mask_head.named_children() if "fcn" in name]
    assert len(convs) == 8
    assert heads.mask_pooler.output_size == (14, 14)
    assert heads.mask_head.predictor.out_channels == 8


def test_the_papers_input_and_solver_are_the_published_ones():
    cfg = get_config("paper")
    assert cfg.MODEL.PIXEL_MEAN == [128.0] * 3 and cfg.MODEL.PIXEL_STD == [11.578] * 3
    solver = cfg.SOLVER
    assert (solver.IMS_PER_BATCH, solver.BASE_LR, solver.MOMENTUM) == (16, 0.02, 0.9)
    assert (solver.WEIGHT_DECAY, solver.WARMUP_ITERS) == (1e-4, 1000)
    assert (solver.STEPS, solver.MAX_ITER) == ((17500, 20000), 30000)
    assert cfg.INPUT.MIN_SIZE_TRAIN == (440, 480, 520, 560, 580, 620)
    scales = cfg.INPUT.MIN_SIZE_TRAIN
    assert min(scales) < cfg.INPUT.MIN_SIZE_TEST < max(scales)  # ours; the published 800 is outside


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "name", ["small", "resnest50", pytest.param("paper", marks=pytest.mark.slow)]
)
def test_every_model_gives_nine_losses_and_gradients_and_then_cells(name, device):
    cfg = get_config(name)
    cfg.MODEL.DEVICE = device
    cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 16  # the same network on fewer proposals
    cfg.MODEL.RPN.POST_NMS_TOPK_TRAIN = cfg.MODEL.RPN.POST_NMS_TOPK_TEST = 50
    cfg.TEST.DETECTIONS_PER_IMAGE = 20
    torch.manual_seed(0)
    model = build_model(cfg).train()
    with EventStorage(0):
        losses = model([a_sample(device), a_sample(device)])
    stages = [f"{kind}_stage{k}" for kind in ("loss_cls", "loss_box_reg") for k in range(3)]
    assert set(losses) == {"loss_rpn_cls", "loss_rpn_loc", "loss_mask", *stages}
    sum(losses.values()).backward()
    for parameter in model.parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all()
    with torch.no_grad():
        found = model.eval()([{"image": a_sample(device)["image"]}])[0]["instances"]
    assert found.has("pred_masks") and len(found) <= cfg.TEST.DETECTIONS_PER_IMAGE


def test_the_keys_are_added_to_any_configuration():
    cfg = get_cfg()
    add_deepmucs_config(cfg)
    cfg.merge_from_list(["MODEL.RESNEST.VARIANT", "resnest26d", "INPUT.QUARTER_TURNS", True])
    assert cfg.MODEL.RESNEST.VARIANT == "resnest26d"


def test_an_unknown_model_is_refused():
    with pytest.raises(DeepMuCSError, match="'tiny': unknown; .* paper, resnest50, small"):
        get_config("tiny")


def test_the_models_are_the_files_and_the_smaller_ones_differences_from_the_paper():
    assert MODELS == ("paper", "resnest50", "small")
    assert get_config("resnest50").MODEL.RESNEST.VARIANT == "resnest50d"
    assert get_config("small").SOLVER.OPTIMIZER == "Muon"
    sizes = [get_config(name).MODEL.ANCHOR_GENERATOR.SIZES for name in MODELS]
    assert sizes == [[[8], [16], [32], [64], [128]]] * 3


def test_the_configurations_have_the_eight_cultures():
    for name in MODELS:
        cfg = get_config(name)
        assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == len(cfg.DATASETS.CATEGORY_NAMES) == 8
