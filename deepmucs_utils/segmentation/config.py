"""The configurations: ``small``, ``resnest50`` and ``paper``, three sizes of one network.

All are detectron2 configurations with the few keys that `add_deepmucs_config` adds. ``paper`` is
the network of the paper (sections III and V); what the paper does not state is LIVECell's
anchor-based configuration, ``model/anchor_based/livecell_config.yaml`` of its repository.
"""

from detectron2.config import CfgNode, get_cfg

from deepmucs_utils.data.cultures import CATEGORIES, CULTURES
from deepmucs_utils.errors import DeepMuCSError

#: ImageNet-like statistics of LIVECell: grey 128, standard deviation 11.578, three equal channels.
PIXEL_MEAN, PIXEL_STD = [128.0] * 3, [11.578] * 3


def add_deepmucs_config(cfg):
    """Add this project's keys to a detectron2 configuration.

    Parameters
    ----------
    cfg : CfgNode
        Changed in place. New keys:

        ``MODEL.RESNEST.VARIANT``: name in timm;
        ``MODEL.RESNEST.CHANNELS``, ``MODEL.RESNEST.STEM_WIDTH``: channels of the 3×3 convolutions
        of res2 to res5 and of the stem, for a narrower network than the variant's; empty for its
        own;
        ``INPUT.CROP.TYPE`` may be ``"cell"``: crops follow a cell of a class drawn from the image;
        ``INPUT.QUARTER_TURNS``: whether training turns images by 0, 90, 180 or 270 degrees; with
        detectron2's ``RANDOM_FLIP`` these are the eight symmetries of the square;
        ``SOLVER.OPTIMIZER``: ``"SGD"`` or ``"AdamW"``;
        ``DATASETS.CATEGORY_IDS``, ``DATASETS.CATEGORY_NAMES``: classes of the network in its
        order, written when a training begins.

        Normalisation and deformable stages are detectron2's keys under ``MODEL.RESNETS``.
    """
    cfg.MODEL.RESNEST = CfgNode()
    cfg.MODEL.RESNEST.VARIANT = "resnest200e"
    cfg.MODEL.RESNEST.CHANNELS = []
    cfg.MODEL.RESNEST.STEM_WIDTH = 32
    cfg.INPUT.QUARTER_TURNS = False
    cfg.SOLVER.OPTIMIZER = "SGD"
    cfg.DATASETS.CATEGORY_IDS = [category["id"] for category in CATEGORIES]
    cfg.DATASETS.CATEGORY_NAMES = [category["name"] for category in CATEGORIES]


def get_config(name="paper"):
    """A configuration by name.

    Parameters
    ----------
    name : {"small", "resnest50", "paper"}

    Returns
    -------
    CfgNode
        Ready for ``detectron2.modeling.build_model``; on the CPU where there is no GPU.

    Raises
    ------
    DeepMuCSError
        If the name is unknown.

    Examples
    --------
    >>> get_config("paper").MODEL.ROI_HEADS.NUM_CLASSES
    8
    """
    if name not in CONFIGS:
        raise DeepMuCSError(f"model {name!r}: unknown; expected one of {', '.join(CONFIGS)}.")
    import torch

    cfg = get_cfg()
    add_deepmucs_config(cfg)
    _paper(cfg)
    CONFIGS[name](cfg)
    cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    return cfg


def _paper(cfg):
    """The paper's network and schedule (facts quoted in `book/architecture.md`)."""
    model = cfg.MODEL
    model.META_ARCHITECTURE = "GeneralizedRCNN"
    model.WEIGHTS = ""
    model.MASK_ON = True
    model.PIXEL_MEAN, model.PIXEL_STD = PIXEL_MEAN, PIXEL_STD

    model.BACKBONE.NAME = "build_resnest_fpn_backbone"
    model.BACKBONE.FREEZE_AT = 0
    model.RESNETS.NORM = "SyncBN"
    model.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    model.RESNETS.DEFORM_ON_PER_STAGE = [False, True, True, True]
    model.RESNETS.DEFORM_MODULATED = True
    model.RESNETS.DEFORM_NUM_GROUPS = 2
    model.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    model.FPN.OUT_CHANNELS = 256
    model.FPN.NORM = "SyncBN"

    model.ANCHOR_GENERATOR.SIZES = [[8], [16], [32], [64], [128]]
    model.ANCHOR_GENERATOR.ASPECT_RATIOS = [[0.5, 1.0, 2.0, 3.0, 4.0]]
    model.PROPOSAL_GENERATOR.NAME = "SeededRPN"
    model.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    model.RPN.IOU_THRESHOLDS = [0.3, 0.7]
    model.RPN.BATCH_SIZE_PER_IMAGE = 256
    model.RPN.PRE_NMS_TOPK_TRAIN, model.RPN.PRE_NMS_TOPK_TEST = 12000, 6000
    model.RPN.POST_NMS_TOPK_TRAIN, model.RPN.POST_NMS_TOPK_TEST = 3000, 3000
    model.RPN.NMS_THRESH = 0.7

    model.ROI_HEADS.NAME = "SeededCascadeROIHeads"
    model.ROI_HEADS.IN_FEATURES = ["p2", "p3", "p4", "p5"]
    model.ROI_HEADS.NUM_CLASSES = len(CULTURES)
    model.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 512
    model.ROI_HEADS.POSITIVE_FRACTION = 0.25
    model.ROI_HEADS.IOU_THRESHOLDS = [0.5]
    model.ROI_HEADS.SCORE_THRESH_TEST = 0.05
    model.ROI_HEADS.NMS_THRESH_TEST = 0.5
    model.ROI_BOX_CASCADE_HEAD.IOUS = (0.5, 0.6, 0.7)
    model.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS = (
        (10.0, 10.0, 5.0, 5.0),
        (20.0, 20.0, 10.0, 10.0),
        (30.0, 30.0, 15.0, 15.0),
    )
    model.ROI_BOX_HEAD.NAME = "FastRCNNConvFCHead"
    model.ROI_BOX_HEAD.NUM_CONV, model.ROI_BOX_HEAD.CONV_DIM = 4, 256
    model.ROI_BOX_HEAD.NUM_FC, model.ROI_BOX_HEAD.FC_DIM = 1, 1024
    model.ROI_BOX_HEAD.POOLER_RESOLUTION = 7
    model.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG = True
    model.ROI_BOX_HEAD.NORM = "SyncBN"
    model.ROI_MASK_HEAD.NAME = "MaskRCNNConvUpsampleHead"
    model.ROI_MASK_HEAD.NUM_CONV, model.ROI_MASK_HEAD.CONV_DIM = 8, 256
    model.ROI_MASK_HEAD.POOLER_RESOLUTION = 14
    model.ROI_MASK_HEAD.NORM = "SyncBN"

    cfg.INPUT.MASK_FORMAT = "bitmask"
    cfg.INPUT.MIN_SIZE_TRAIN = (440, 480, 520, 560, 580, 620)
    # The published test side, 800, lies outside the training range: 1.54 times LIVECell's 520 px.
    # `benchmarks.inference_scale` shows what such a scale costs.
    cfg.INPUT.MIN_SIZE_TEST = 520

    cfg.SOLVER.IMS_PER_BATCH = 16
    cfg.SOLVER.BASE_LR = 0.02
    cfg.SOLVER.MOMENTUM = 0.9
    cfg.SOLVER.WEIGHT_DECAY = 1e-4
    cfg.SOLVER.WARMUP_ITERS = 1000
    cfg.SOLVER.MAX_ITER = 30000
    cfg.SOLVER.STEPS = (17500, 20000)
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = False  # detectron2's, by parameter; ours is of them all
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 20.0
    cfg.SOLVER.AMP.ENABLED = True  # bfloat16 on a GPU
    cfg.SOLVER.CHECKPOINT_PERIOD = 1000
    cfg.TEST.EVAL_PERIOD = 1000
    cfg.TEST.DETECTIONS_PER_IMAGE = 3000


def _resnest50(cfg):
    """ResNeSt-50 in place of ResNeSt-200, lighter heads: trains on one GPU in hours."""
    model = cfg.MODEL
    model.RESNEST.VARIANT = "resnest50d"
    model.ROI_BOX_HEAD.NUM_CONV = 2
    model.ROI_MASK_HEAD.NUM_CONV = 4


def _small(cfg):
    """A network that learns on two CPU cores in minutes, from nothing.

    It is trained on crops that follow a cell: a class of the image is drawn, then a cell of it.
    With the repeated images of rare cultures this evens out what the sets are unbalanced in. In so
    few steps from random weights the paper's SGD hardly learns to tell the cultures apart, since
    the boxes' losses outweigh the classes': hence AdamW, and a fifth of the boxes' weight.
    """
    model = cfg.MODEL
    model.RESNEST.VARIANT = "resnest14d"
    model.RESNEST.CHANNELS = [32, 64, 96, 128]
    model.RESNEST.STEM_WIDTH = 16
    model.RESNETS.NORM = "BN"
    model.FPN.OUT_CHANNELS = 64
    model.FPN.NORM = "BN"

    model.RPN.BATCH_SIZE_PER_IMAGE = 128
    model.RPN.PRE_NMS_TOPK_TRAIN, model.RPN.PRE_NMS_TOPK_TEST = 500, 500
    model.RPN.POST_NMS_TOPK_TRAIN, model.RPN.POST_NMS_TOPK_TEST = 200, 200
    model.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 32
    model.ROI_HEADS.POSITIVE_FRACTION = 0.5
    model.ROI_HEADS.NMS_THRESH_TEST = 0.3
    model.ROI_BOX_HEAD.NUM_CONV = 0
    model.ROI_BOX_HEAD.NUM_FC, model.ROI_BOX_HEAD.FC_DIM = 1, 256
    model.ROI_BOX_HEAD.NORM = ""
    model.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT = 0.2
    model.ROI_MASK_HEAD.NUM_CONV, model.ROI_MASK_HEAD.CONV_DIM = 2, 64
    model.ROI_MASK_HEAD.NORM = "BN"

    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.SAMPLER_TRAIN = "RepeatFactorTrainingSampler"
    cfg.DATALOADER.REPEAT_THRESHOLD = 1.0
    cfg.INPUT.QUARTER_TURNS = True
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = "cell", [128, 128]
    cfg.INPUT.MIN_SIZE_TRAIN = (0,)
    cfg.INPUT.MIN_SIZE_TEST = 0
    cfg.SOLVER.IMS_PER_BATCH = 12
    cfg.SOLVER.OPTIMIZER = "AdamW"
    cfg.SOLVER.BASE_LR = 0.002
    cfg.SOLVER.WEIGHT_DECAY = 0.01
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupCosineLR"
    cfg.SOLVER.WARMUP_ITERS = 40
    cfg.SOLVER.MAX_ITER = 600
    cfg.SOLVER.CHECKPOINT_PERIOD = 50
    cfg.TEST.EVAL_PERIOD = 300
    cfg.TEST.DETECTIONS_PER_IMAGE = 100


CONFIGS = {"small": _small, "resnest50": _resnest50, "paper": lambda cfg: None}
