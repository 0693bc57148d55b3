"""The network's parts written plainly, under the published parameter names, to compare with.

`ResNeSt` follows the ResNeSt authors' detectron2 fork, file by file as far as names and order of
computation go. `split_attention` is the formula with loops.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import deform_conv2d


def randomise_norms(network, seed=0):
    """Give every normalisation layer random weights and statistics; some start as zero."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.2, generator=generator)
    return network


class Conv(nn.Conv2d):
    """A convolution with its normalisation inside, as detectron2 has it."""

    def __init__(self, inside, outside, size, stride=1):
        super().__init__(inside, outside, size, stride, size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outside)

    def forward(self, x):
        return self.norm(super().forward(x))


class SplitAttention(nn.Module):
    """Radix 2; deformable where offsets are given."""

    def __init__(self, channels):
        super().__init__()
        inner = max(channels * 2 // 4, 32)
        self.conv = nn.Conv2d(channels, 2 * channels, 3, 1, 1, groups=2, bias=False)
        self.bn0 = nn.BatchNorm2d(2 * channels)
        self.fc1 = nn.Conv2d(channels, inner, 1)
        self.bn1 = nn.BatchNorm2d(inner)
        self.fc2 = nn.Conv2d(inner, 2 * channels, 1)

    def forward(self, x, offsets=None):
        if offsets is None:
            x = self.conv(x)
        else:
            places, modulation = offsets
            x = deform_conv2d(x, places, self.conv.weight, padding=1, mask=modulation)
        x = F.relu(self.bn0(x))
        splits = torch.split(x, x.shape[1] // 2, dim=1)
        gap = sum(splits).mean((2, 3), keepdim=True)
        gap = self.fc2(F.relu(self.bn1(self.fc1(gap))))
        attention = F.softmax(gap.view(len(x), 1, 2, -1).transpose(1, 2), dim=1).reshape(len(x), -1)
        parts = torch.split(attention[:, :, None, None], x.shape[1] // 2, dim=1)
        return sum(part * split for part, split in zip(parts, splits, strict=True)).contiguous()


class Block(nn.Module):
    def __init__(self, inside, width, stride, deformable):
        super().__init__()
        self.stride = stride
        self.conv1 = Conv(inside, width, 1)
        if deformable:
            self.conv2_offset = nn.Conv2d(width, 54, 3, 1, 1, groups=2)
        self.conv2 = SplitAttention(width)
        self.conv3 = Conv(width, 4 * width, 1)
        if stride > 1 or inside != 4 * width:
            self.shortcut = Conv(inside, 4 * width, 1)

    def forward(self, x):
        out = F.relu(self.conv1(x))
        if hasattr(self, "conv2_offset"):
            offsets = self.conv2_offset(out)
            out = self.conv2(out, (offsets[:, :36], offsets[:, 36:].sigmoid()))
        else:
            out = self.conv2(out)
        if self.stride > 1:
            out = F.avg_pool2d(out, 3, self.stride, 1)
        out = self.conv3(out)
        if hasattr(self, "shortcut"):
            if self.stride > 1:
                x = F.avg_pool2d(x, self.stride, ceil_mode=True, count_include_pad=False)
            x = self.shortcut(x)
        return F.relu(out + x)


class ResNeSt(nn.Module):
    """Names ``stem.conv1_1.weight`` to ``res5.2.conv3.norm.bias``."""

    def __init__(self, blocks, stem, deformable=(False, True, True, True)):
        super().__init__()
        self.stem = nn.Module()
        self.stem.conv1_1 = Conv(3, stem, 3, 2)
        self.stem.conv1_2 = Conv(stem, stem, 3)
        self.stem.conv1_3 = Conv(stem, 2 * stem, 3)
        inside = 2 * stem
        for stage, count in enumerate(blocks):
            width, layers = 64 * 2**stage, []
            for number in range(count):
                stride = 2 if stage and not number else 1
                layers.append(Block(inside, width, stride, deformable[stage]))
                inside = 4 * width
            self.add_module(f"res{stage + 2}", nn.Sequential(*layers))

    def forward(self, x):
        for conv in (self.stem.conv1_1, self.stem.conv1_2, self.stem.conv1_3):
            x = F.relu(conv(x))
        x = F.max_pool2d(x, 3, 2, 1)
        features = {}
        for name in ("res2", "res3", "res4", "res5"):
            x = features[name] = getattr(self, name)(x)
        return features


def split_attention(x, offsets, layer):
    """Deformable split attention of one image by the formula, one sample at a time.

    Parameters
    ----------
    x : Tensor, shape (channels, h, w)
    offsets : Tensor, shape (54, h, w)
        For each of two groups of channels and nine taps, y and x; then the 18 modulations before
        their sigmoid.
    layer : timm.layers.SplitAttn
        Gives the weights.
    """
    channels, height, width = x.shape
    weight = layer.conv.weight
    maps = torch.zeros(len(weight), height, width)
    per_split = channels // 2
    for split in range(2):
        rows = slice(split * len(weight) // 2, (split + 1) * len(weight) // 2)
        part = x[split * per_split : (split + 1) * per_split]
        for tap in range(9):
            pair, place = split * 18 + 2 * tap, split * 9 + tap
            for i in range(height):
                for j in range(width):
                    y = i + tap // 3 - 1 + float(offsets[pair, i, j])
                    x_ = j + tap % 3 - 1 + float(offsets[pair + 1, i, j])
                    modulation = 1 / (1 + math.exp(-float(offsets[36 + place, i, j])))
                    value = modulation * _bilinear(part, y, x_)
                    maps[rows, i, j] += weight[rows, :, tap // 3, tap % 3] @ value
    maps = F.relu(_norm(maps, layer.bn0))
    halves = maps[: len(maps) // 2], maps[len(maps) // 2 :]
    mean = (halves[0] + halves[1]).mean((1, 2))
    hidden = layer.fc1.weight[:, :, 0, 0] @ mean + layer.fc1.bias
    hidden = F.relu(_norm(hidden[:, None, None], layer.bn1))[:, 0, 0]
    scores = (layer.fc2.weight[:, :, 0, 0] @ hidden + layer.fc2.bias).reshape(2, -1)
    share = scores.exp() / scores.exp().sum(0)
    return share[0, :, None, None] * halves[0] + share[1, :, None, None] * halves[1]


def _bilinear(part, y, x):
    """Value between pixels; beyond the edge the image is zero."""
    value = torch.zeros(len(part))
    for i in (math.floor(y), math.floor(y) + 1):
        for j in (math.floor(x), math.floor(x) + 1):
            if 0 <= i < part.shape[1] and 0 <= j < part.shape[2]:
                value += (1 - abs(y - i)) * (1 - abs(x - j)) * part[:, i, j]
    return value


def _norm(maps, norm):
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (maps - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[
        :, None, None
    ]
