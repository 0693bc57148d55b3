"""Published checkpoints, made here with random numbers under their names, become our networks."""

import json
import pickle
from unittest import mock

import pytest
import timm
import torch
from detectron2.modeling import build_model
from detectron2.structures import ImageList
from torchvision.ops import deform_conv2d

from deepmucs_utils.cli import main
from deepmucs_utils.errors import DeepMuCSError
from deepmucs_utils.segmentation import get_config, resnest, weights
from deepmucs_utils.segmentation.predict import load_model
from deepmucs_utils.segmentation.run_files import load, read_config, write_config
from deepmucs_utils.segmentation.samples import CoCultureSet
from deepmucs_utils.segmentation.trainer import Trainer
from deepmucs_utils.segmentation.weights import BOTTOM_UP, convert, load_into, read_checkpoint
from tests.segmentation.plain_networks import ResNeSt, randomise_norms
from tests.tiny import tiny_config, write_set

SCORES = [
    f"roi_heads.box_predictor.{k}.cls_score.{kind}" for k in range(3) for kind in ("weight", "bias")
]
CELL_ANCHORS = "proposal_generator.anchor_generator.cell_anchors."
RPN_OUTPUTS = [
    f"proposal_generator.rpn_head.{part}.{kind}"
    for part in ("objectness_logits", "anchor_deltas")
    for kind in ("weight", "bias")
]
LEVELS = ["p2", "p3", "p4", "p5", "p6"]
#: Features, sizes (px) and height / width of the published networks' anchors.
LIVECELL = ["p2", *LEVELS], [[4], [9], [17], [31], [64], [127]], [[0.25, 0.5, 1.0, 2.0, 4.0]]
COCO = LEVELS, [[32], [64], [128], [256], [512]], [[0.5, 1.0, 2.0]]


@pytest.fixture(scope="module", autouse=True)
def _thin_heads():
    """The mid-size network with thin fully connected layers, which are most of its weight."""
    with mock.patch.object(weights, "get_config", thin_config):
        yield


def thin_config(name):
    cfg = get_config(name)
    cfg.MODEL.ROI_BOX_HEAD.FC_DIM = 16
    return cfg


def set_anchors(cfg, features, sizes, ratios):
    cfg.MODEL.RPN.IN_FEATURES = features
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = sizes
    cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS = ratios


def anchors(cfg):
    generator = cfg.MODEL.ANCHOR_GENERATOR
    return list(cfg.MODEL.RPN.IN_FEATURES), generator.SIZES, generator.ASPECT_RATIOS


def published(classes=1, pooler=7, anchors=LIVECELL, seed=0):
    """A ResNeSt-50 cascade under the fork's names, with random weights.

    The backbone is the plain definition; outside it the fork's names are detectron2's own.
    """
    torch.manual_seed(seed)
    cfg = thin_config("resnest50")
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = classes
    cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = pooler
    set_anchors(cfg, *anchors)
    detector = randomise_norms(build_model(cfg)).eval()
    backbone = randomise_norms(ResNeSt((3, 4, 6, 3), 32)).eval()
    for name, parameter in backbone.named_parameters():
        if "offset" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    tensors = {k: v for k, v in detector.state_dict().items() if not k.startswith(BOTTOM_UP)}
    tensors |= {BOTTOM_UP + name: tensor for name, tensor in backbone.state_dict().items()}
    tensors["pixel_mean"] = torch.full((3, 1, 1), 128.0)
    tensors["pixel_std"] = torch.full((3, 1, 1), 11.578)
    for level, boxes in enumerate(detector.proposal_generator.anchor_generator.cell_anchors):
        tensors[f"{CELL_ANCHORS}{level}"] = boxes
    return tensors, backbone, detector


@pytest.fixture(scope="module")
def one_class(tmp_path_factory):
    """The file of a published one-class model and what it was made from."""
    path = tmp_path_factory.mktemp("weights") / "LIVECell_anchor_based_model.pth"
    tensors, backbone, detector = published()
    torch.save({"model": tensors, "iteration": 30000, "optimizer": {"state": {}}}, path)
    return path, tensors, backbone, detector


@pytest.fixture(scope="module")
def kept(one_class, tmp_path_factory):
    """The converted model with the original's one class."""
    out = tmp_path_factory.mktemp("runs") / "kept"
    return convert(one_class[0], out, model="resnest50", keep_classes=True)


def report(run):
    return json.loads((run / "weights.json").read_text())


def test_features_of_the_converted_model_are_those_of_the_plain_definition(
    one_class, kept, monkeypatch
):
    """To the bit, with torchvision's deformable convolution and order of the numbers in memory."""

    def theirs(x, displacement, modulation, weight, dilation):
        return deform_conv2d(
            x, displacement, weight, padding=dilation, dilation=dilation, mask=modulation
        )

    monkeypatch.setattr(resnest, "_deform_conv2d_on_cpu", theirs)
    _, _, backbone, _ = one_class
    model = load_model(kept)[1].to(memory_format=torch.contiguous_format)
    x = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        plain, ours = backbone(x), model.backbone.bottom_up(x)
    for name in ("res2", "res3", "res4", "res5"):
        assert plain[name].abs().max() > 0.1
        assert float((plain[name] - ours[name]).abs().max()) == 0.0


def test_every_head_tensor_arrives(one_class, kept):
    _, tensors, _, detector = one_class
    _, model = load_model(kept)
    state = model.state_dict()
    heads = [name for name in detector.state_dict() if not name.startswith(BOTTOM_UP)]
    assert len(heads) > 100
    for name in heads:
        assert torch.equal(state[name], tensors[name]), name


def test_proposals_of_the_converted_model_are_the_originals(one_class, kept):
    original, (_, model) = one_class[3], load_model(kept)
    features = model.backbone(torch.randn(1, 3, 64, 64))
    images = ImageList(torch.zeros(1, 3, 64, 64), [(64, 64)])
    with torch.no_grad():
        ours, theirs = (m.proposal_generator(images, features)[0][0] for m in (model, original))
    assert len(ours) > 100
    assert torch.equal(ours.proposal_boxes.tensor, theirs.proposal_boxes.tensor)


def test_a_run_has_the_anchors_and_the_test_side_of_its_checkpoint(one_class, kept, tmp_path):
    tensors = {k: v for k, v in one_class[1].items() if not k.startswith(CELL_ANCHORS)}
    torch.save(tensors, tmp_path / "file.pth")
    for cfg in (read_config(kept), read_checkpoint(tmp_path / "file.pth").settings):
        assert anchors(cfg) == LIVECELL
        assert cfg.INPUT.MIN_SIZE_TEST == 800


def test_anchors_that_a_checkpoint_holds_are_read(one_class, tmp_path):
    """Also those of a network that was trained with others than the published ones."""
    tensors = {k: v for k, v in one_class[1].items() if k != f"{CELL_ANCHORS}5"}
    for level in range(5):
        tensors[f"{CELL_ANCHORS}{level}"] = boxes(10.0 * 2**level, [1 / 3, 1, 2, 3, 5])
    torch.save(tensors, tmp_path / "file.pth")
    run = convert(tmp_path / "file.pth", tmp_path / "run", model="resnest50")
    sizes = [[10], [20], [40], [80], [160]]
    assert anchors(read_config(run)) == (LEVELS, sizes, [[0.3333, 1, 2, 3, 5]])
    assert set(RPN_OUTPUTS) <= set(report(run)["loaded"])


def boxes(size, ratios):
    """Around zero, of one area, by height / width."""
    corner = [[size / ratio**0.5 / 2, size * ratio**0.5 / 2] for ratio in ratios]
    return torch.tensor([[-x, -y, x, y] for x, y in corner])


@pytest.mark.parametrize("change", ["zeros", "levels"])
def test_anchors_that_a_configuration_cannot_express_are_refused(one_class, tmp_path, change):
    tensors = dict(one_class[1])
    if change == "zeros":
        tensors[f"{CELL_ANCHORS}2"] = torch.zeros(5, 4)
    else:
        tensors[f"{CELL_ANCHORS}6"] = boxes(256, [0.25, 0.5, 1, 2, 4])
    torch.save(tensors, tmp_path / "file.pth")
    with pytest.raises(DeepMuCSError, match="file.pth: its anchors .* are not sizes by ratios"):
        convert(tmp_path / "file.pth", tmp_path / "run", model="resnest50")
    assert not (tmp_path / "run").exists()


def test_every_tensor_is_accounted_for(one_class, kept):
    _, tensors, _, _ = one_class
    _, model = load_model(kept)
    found = report(kept)
    assert len(found["loaded"]) + len(found["unused"]) == len(tensors)
    assert set(found["loaded"]) | set(found["initialised"]) == set(model.state_dict())
    assert not found["initialised"]
    assert set(found["unused"].values()) == {"a constant; the configuration gives it"}


def test_one_class_becomes_eight_by_initialising_only_the_scores(one_class, tmp_path, caplog):
    path, tensors, _, _ = one_class
    run = convert(path, tmp_path / "run", model="resnest50")
    assert set(report(run)["initialised"]) == set(SCORES)
    assert "other classes: shape [2, 16], here [9, 16]" in report(run)["initialised"].values()
    (said,) = caplog.messages
    assert said.startswith(f"{path}: {len(report(run)['loaded'])} tensors loaded")
    assert "6 start anew: 6 for other classes" in said
    _, model = load_model(run)
    masks = model.roi_heads.mask_head.predictor.weight
    assert len(masks) == 8
    assert all(torch.equal(m, tensors["roi_heads.mask_head.predictor.weight"][0]) for m in masks)


def test_a_converted_run_is_predicted_with_and_trained_from(one_class, kept, tmp_path, caplog):
    cfg, model = load_model(kept)
    assert cfg.DATASETS.CATEGORY_NAMES == ["cell"]
    model.proposal_generator.post_nms_topk = {False: 20}
    with torch.no_grad():
        model([{"image": 128 + torch.randn(3, 64, 64)}])
    folder = write_set(tmp_path / "set")
    cfg = tiny_config(1, weights=kept)
    cfg.merge_from_other_cfg(thin_config("resnest50"))
    cfg.MODEL.WEIGHTS, cfg.MODEL.DEVICE = str(kept), "cpu"
    (tmp_path / "run").mkdir()
    training = Trainer(cfg, CoCultureSet(folder), CoCultureSet(folder), tmp_path / "run")
    name = "roi_heads.box_head.0.fc1.weight"
    assert torch.equal(training.network.state_dict()[name], one_class[1][name])
    initialised = report(tmp_path / "run")["initialised"]
    assert set(initialised) == {*SCORES, *RPN_OUTPUTS}
    assert ": 4, 9, 17, 31, 64, 127 px at p2, p2, p3" in initialised[RPN_OUTPUTS[0]]
    (said,) = caplog.messages
    assert "10 start anew: 4 for other anchors of the proposal network, 6 for other classes" in said


def test_a_training_from_a_run_of_its_own_anchors_is_silent(tmp_path, caplog):
    """`small` is no checkpoint to convert, but to train from."""
    folder = write_set(tmp_path / "set")
    for name, start in (("one", None), ("two", tmp_path / "one")):
        (tmp_path / name).mkdir()
        cfg = tiny_config(1, weights=start)
        write_config(cfg, tmp_path / name)
        training = Trainer(cfg, CoCultureSet(folder), CoCultureSet(folder), tmp_path / name)
        training._save("best.pth")
    assert not report(tmp_path / "two")["initialised"]
    assert not caplog.messages


def test_the_box_poolers_resolution_is_read_from_the_shapes(tmp_path):
    torch.save(published(pooler=14)[0], tmp_path / "old.pth")
    run = convert(tmp_path / "old.pth", tmp_path / "run", model="resnest50")
    assert read_config(run).MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION == 14
    assert "roi_heads.box_head.0.fc1.weight" in report(run)["loaded"]


def test_of_a_model_of_coco_classes_are_initialised_and_anchors_are_kept(tmp_path, caplog):
    tensors = published(classes=80, anchors=COCO)[0]
    own = (CELL_ANCHORS, "pixel_")
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(own)}
    torch.save({"model": tensors}, tmp_path / "coco.pth")
    run = convert(tmp_path / "coco.pth", tmp_path / "run", model="resnest50")
    masks = [f"roi_heads.mask_head.predictor.{kind}" for kind in ("weight", "bias")]
    assert set(report(run)["initialised"]) == {*SCORES, *masks}
    cfg = read_config(run)
    assert anchors(cfg) == COCO
    assert cfg.MODEL.PIXEL_MEAN == [123.68, 116.779, 103.939]
    caplog.clear()
    network = build_model(thin_config("resnest50"))
    found = load_into(network, read_checkpoint(tmp_path / "coco.pth"))
    assert set(found["initialised"]) == {*SCORES, *masks, *RPN_OUTPUTS}
    assert "4 for other anchors of the proposal network, 8 for other classes" in caplog.messages[0]


def test_timms_classifier_gives_the_backbone(tmp_path):
    torch.manual_seed(0)
    classifier = randomise_norms(timm.create_model("resnest50d"))
    torch.save(classifier.state_dict(), tmp_path / "imagenet.pth")
    run = convert(tmp_path / "imagenet.pth", tmp_path / "run", model="resnest50")
    found = report(run)
    assert found["unused"] == dict.fromkeys(
        ("fc.weight", "fc.bias"), "scores of ImageNet's classes"
    )
    assert len(found["loaded"]) == len(classifier.state_dict()) - 2
    assert sum(".offset." in name for name in found["initialised"]) == 2 * (4 + 6 + 3)
    _, model = load_model(run)
    x = torch.randn(1, 3, 64, 64)
    for conv in model.modules():
        if hasattr(conv, "offset") and hasattr(conv, "sampling"):
            conv.offset.bias.data[36:] = 100.0
    with torch.no_grad():
        ours = model.backbone.bottom_up(x)["res5"]
        plain = classifier.eval().forward_features(x)
    assert float((ours - plain).abs().max()) < 1e-5 * float(plain.abs().max())


def test_a_run_converts_to_itself(kept, tmp_path):
    run = convert(kept / "best.pth", tmp_path / "run", model="resnest50", keep_classes=True)
    one, two = (load(folder / "best.pth")["model"] for folder in (kept, run))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert read_config(run).dump() == read_config(kept).dump()


def test_small_is_refused_before_anything_is_read(tmp_path, capsys):
    with pytest.raises(DeepMuCSError, match="small: no published checkpoint has its shapes"):
        convert(tmp_path / "missing.pth", tmp_path / "run", model="small")
    assert main(["weights", "convert", "a", str(tmp_path / "run"), "--model", "small"]) == 2
    assert "'small' is not one of" in capsys.readouterr().err


class Code:
    def __reduce__(self):
        return print, ("this must not be run",)


@pytest.mark.parametrize(
    "content, sentence",
    [
        ({"model": {"weight": Code()}}, "refused"),
        (["no", "names"], "no tensors by name"),
        ({"model": {"backbone.unknown.weight": torch.zeros(1)}}, "has no place in this network"),
        ({"layer1.0.conv1.weight": torch.zeros(9, 9)}, "lacks tensor|has shape"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, capsys, content, sentence):
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(DeepMuCSError, match=sentence):
        convert(tmp_path / "file.pth", tmp_path / "run", model="resnest50")
    assert not (tmp_path / "run").exists()
    assert "must not be run" not in capsys.readouterr().out


def test_a_plain_pickle_a_damaged_file_and_no_file_are_refused(one_class, tmp_path):
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"model": Code()}, protocol=2))
    (tmp_path / "cut.pth").write_bytes(one_class[0].read_bytes()[:4000])
    for name in ("plain.pkl", "cut.pth", "missing.pth"):
        with pytest.raises(DeepMuCSError, match=f"{name}: (refused|no such file)"):
            convert(tmp_path / name, tmp_path / "run", model="resnest50")


@pytest.mark.parametrize("change", ["missing", "shape"])
def test_a_tensor_that_is_missing_or_misshapen_is_named(one_class, tmp_path, change):
    tensors = dict(one_class[1])
    name = "backbone.bottom_up.res4.2.conv2_offset.weight"
    if change == "missing":
        del tensors[name]
    else:
        tensors[name] = torch.zeros(27, 64, 3, 3)
    torch.save(tensors, tmp_path / "file.pth")
    with pytest.raises(DeepMuCSError, match="layer3.2.conv2.conv.offset.weight"):
        convert(tmp_path / "file.pth", tmp_path / "run", model="resnest50")


def test_a_run_is_not_overwritten_by_a_conversion(one_class, kept):
    with pytest.raises(DeepMuCSError, match="holds a run"):
        convert(one_class[0], kept, model="resnest50")
