"""A configuration in words and a network in numbers, for the reader of a notebook."""


def summary(cfg):
    """What distinguishes one configuration of the network from another.

    Parameters
    ----------
    cfg : CfgNode
        From `config.get_config`.

    Returns
    -------
    dict of str to str
        Part and value.
    """
    model, solver = cfg.MODEL, cfg.SOLVER
    flags = model.RESNETS.DEFORM_ON_PER_STAGE
    deformable = [f"res{stage}" for stage, on in enumerate(flags, start=2) if on]
    scales = [str(side) for side in cfg.INPUT.MIN_SIZE_TRAIN if side] or ["as it is"]
    return {
        "backbone (timm)": model.RESNEST.VARIANT + (", narrower" if model.RESNEST.CHANNELS else ""),
        "deformable convolution": ", ".join(deformable) or "none",
        "normalisation": model.RESNETS.NORM,
        "FPN channels": str(model.FPN.OUT_CHANNELS),
        "anchor sizes (px)": ", ".join(str(size[0]) for size in model.ANCHOR_GENERATOR.SIZES),
        "aspect ratios": ", ".join(f"{r:g}" for r in model.ANCHOR_GENERATOR.ASPECT_RATIOS[0]),
        "cascade IoU": ", ".join(f"{iou:g}" for iou in model.ROI_BOX_CASCADE_HEAD.IOUS),
        "box head": f"{model.ROI_BOX_HEAD.NUM_CONV} conv, FC {model.ROI_BOX_HEAD.FC_DIM}",
        "mask head": f"{model.ROI_MASK_HEAD.NUM_CONV} conv of {model.ROI_MASK_HEAD.CONV_DIM}",
        "short side, training (px)": ", ".join(scales),
        "short side, test (px)": str(cfg.INPUT.MIN_SIZE_TEST or "as it is"),
        "images a batch": str(solver.IMS_PER_BATCH),
        "optimiser": solver.OPTIMIZER,
        "learning rate": f"{solver.BASE_LR:g}",
        "momentum": f"{solver.MOMENTUM:g}",
        "iterations": f"{solver.MAX_ITER:,}",
    }


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
