"""ResNeSt with deformable convolution, as a detectron2 backbone (paper, section III-A).

The network is timm's. In the stages that the configuration names, a modulated deformable
convolution replaces the 3×3 convolution inside split attention; both splits of a block sample at
the same learnt places. The result equals the ResNeSt authors' detectron2 fork: on a GPU bit for
bit, on the CPU but for the last digits, since a faster deformable convolution is used there.

References
----------
Zhang et al., ResNeSt: Split-Attention Networks, 2020 (the paper's reference [8]).
Zhu et al., Deformable ConvNets v2, 2019.
"""

import timm
import torch
from detectron2.layers import get_norm
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool
from torch import nn
from torchvision.ops import deform_conv2d

STAGES = ("res2", "res3", "res4", "res5")


class DeformableConv2d(nn.Module):
    """A modulated deformable convolution of stride 1 that replaces an ordinary 3×3 one.

    Parameters
    ----------
    conv : nn.Conv2d
        The convolution to replace; its weight is kept.
    deformable_groups : int
        Number of groups of input channels, each with its own sampling places.

    Attributes
    ----------
    weight : Parameter, shape (out, in / groups, 3, 3)
    offset : nn.Conv2d
        Gives ``27 × deformable_groups`` channels, two for each of the nine taps of a group (y and
        x in turn) and then one for each tap, the modulation before its sigmoid. It has
        ``deformable_groups`` groups and starts at zero: no displacement, modulation one half.
    """

    def __init__(self, conv, deformable_groups):
        super().__init__()
        self.weight = conv.weight
        self.window = {"padding": conv.padding, "dilation": conv.dilation}
        self.offset = nn.Conv2d(
            conv.in_channels, 27 * deformable_groups, 3, groups=deformable_groups, **self.window
        )
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)

    def sampling(self, x):
        """Where the taps sample, and with what weight.

        Parameters
        ----------
        x : Tensor, shape (n, in, h, w)

        Returns
        -------
        displacement : Tensor, shape (n, 18 × deformable_groups, h, w)
            In pixels of ``x``; y and x of each tap in turn.
        modulation : Tensor, shape (n, 9 × deformable_groups, h, w)
            From 0 to 1.
        """
        out = self.offset(x)
        taps = out.shape[1] // 3
        # Nothing is sampled beyond the edge. A diverged network's displacements, if not limited,
        # would become addresses outside the image's memory.
        reach = 2.0 + max(x.shape[2:])
        displacement = out[:, : 2 * taps].nan_to_num(0.0).clamp(-reach, reach)
        return displacement, out[:, 2 * taps :].sigmoid()

    def forward(self, x):
        """In float32 under autocast too: in bfloat16 a displacement of 4 px is off by up to 1/64.

        The output has the type of ``x``.
        """
        with torch.autocast(x.device.type, enabled=False):
            return self._convolve(x.to(self.weight.dtype)).to(x.dtype)

    def _convolve(self, x):
        displacement, modulation = self.sampling(x)
        if x.device.type == "cpu":
            dilation = self.window["dilation"]
            return _deform_conv2d_on_cpu(x, displacement, modulation, self.weight, dilation)
        return deform_conv2d(x, displacement, self.weight, mask=modulation, **self.window)


def _deform_conv2d_on_cpu(x, displacement, modulation, weight, dilation):
    """``deform_conv2d`` as bilinear sampling and a matrix product.

    On the CPU torchvision's takes most of a training step and of a prediction's backbone. This one
    is ten times as fast with its gradient and three times without; results differ in the last
    digits (`benchmarks`).
    """
    n, channels, height, width = x.shape
    deformable_groups = displacement.shape[1] // 18
    groups = channels // weight.shape[1]
    steps = torch.arange(-1.0, 2.0)
    tap_y, tap_x = (steps * d for d in dilation)
    y, x_ = displacement.reshape(n * deformable_groups, 3, 3, 2, height, width).unbind(3)
    y = y + tap_y.reshape(3, 1, 1, 1) + torch.arange(height).reshape(height, 1)
    x_ = x_ + tap_x.reshape(3, 1, 1) + torch.arange(width)
    places = torch.stack(((2 * x_ + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    taps = nn.functional.grid_sample(
        x.reshape(n * deformable_groups, -1, height, width),
        places.reshape(n * deformable_groups, 9 * height, width, 2),
        align_corners=False,
    )
    taps = taps.reshape(n, deformable_groups, -1, 9, height * width)
    taps = taps * modulation.reshape(n, deformable_groups, 1, 9, height * width)
    out = weight.reshape(groups, weight.shape[0] // groups, -1) @ taps.reshape(
        n, groups, -1, height * width
    )
    return out.reshape(n, -1, height, width)


class ResNeSt(Backbone):
    """timm's ResNeSt as the bottom-up network of a feature pyramid.

    Parameters
    ----------
    variant : str
        Name in timm, e.g. ``"resnest200e"``.
    norm : str
        Kind of normalisation, as detectron2's ``get_norm`` takes it.
    deform_on_per_stage : sequence of bool
        For res2 to res5, whether its convolutions are deformable.
    deformable_groups : int
    **options
        Passed to timm, e.g. ``channels`` and ``stem_width`` of a narrower network.
    """

    def __init__(self, variant, norm, deform_on_per_stage, deformable_groups, **options):
        super().__init__()
        self.net = timm.create_model(
            variant,
            features_only=True,
            out_indices=(1, 2, 3, 4),
            norm_layer=lambda channels, **_: get_norm(norm, channels),
            **options,
        )
        for number, deform in enumerate(deform_on_per_stage, start=1):
            if deform:
                for block in self.net[f"layer{number}"]:
                    block.conv2.conv = DeformableConv2d(block.conv2.conv, deformable_groups)
        info = self.net.feature_info
        self._out_features = list(STAGES)
        self._out_feature_channels = dict(zip(STAGES, info.channels(), strict=True))
        self._out_feature_strides = dict(zip(STAGES, info.reduction(), strict=True))

    def forward(self, x):
        """Feature maps by stage, of strides 4, 8, 16 and 32; ``x`` has shape (n, 3, h, w)."""
        return dict(zip(STAGES, self.net(x), strict=True))


@BACKBONE_REGISTRY.register()
def build_resnest_fpn_backbone(cfg, input_shape):
    """ResNeSt and the feature pyramid on it, levels p2 to p6 (strides 4 to 64).

    Parameters
    ----------
    cfg : CfgNode
        With the keys of `config.add_deepmucs_config`.
    input_shape : ShapeSpec
        Three channels are expected.

    Returns
    -------
    FPN
    """
    resnest, resnets, fpn = cfg.MODEL.RESNEST, cfg.MODEL.RESNETS, cfg.MODEL.FPN
    options = {"in_chans": input_shape.channels}
    if resnest.CHANNELS:
        options |= {"channels": tuple(resnest.CHANNELS), "stem_width": resnest.STEM_WIDTH}
        options["zero_init_last"] = False  # branches that start at zero learn late
    if resnest.AVD_FIRST:
        options["block_args"] = {"radix": 2, "avd": True, "avd_first": True}
    deformable = resnets.DEFORM_ON_PER_STAGE, resnets.DEFORM_NUM_GROUPS
    return FPN(
        ResNeSt(resnest.VARIANT, resnets.NORM, *deformable, **options),
        in_features=fpn.IN_FEATURES,
        out_channels=fpn.OUT_CHANNELS,
        norm=fpn.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=fpn.FUSE_TYPE,
    )
