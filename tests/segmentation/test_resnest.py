import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.ops import deform_conv2d

from deepmucs_utils.segmentation.resnest import DeformableConv2d, ResNeSt, _deform_conv2d_on_cpu
from tests.segmentation.plain_networks import randomise_norms, split_attention

DEFORM = (False, True, True, True)


def offset_convs(network):
    return {
        name: module.offset
        for name, module in network.named_modules()
        if isinstance(module, DeformableConv2d)
    }


def timm_pair(variant, modulation=100.0):
    """Our backbone and timm's with equal weights, no displacement, and modulation one."""
    ours = randomise_norms(ResNeSt(variant, "BN", DEFORM, 2)).eval()
    for conv in offset_convs(ours).values():
        conv.bias.data[36:] = modulation
    theirs = timm.create_model(variant, features_only=True, out_indices=(1, 2, 3, 4)).eval()
    theirs.load_state_dict({k: v for k, v in ours.net.state_dict().items() if ".offset." not in k})
    return ours, theirs


def difference(ours, theirs, x):
    """Largest difference of a feature map, relative to the largest feature."""
    pairs = zip(ours(x).values(), theirs(x), strict=True)
    return max(float(((a - b).abs().max() / b.abs().max()).detach()) for a, b in pairs)


@pytest.mark.parametrize(
    "variant, dtype",
    [
        ("resnest14d", torch.float32),
        ("resnest50d", torch.float32),
        ("resnest200e", torch.float64),  # its layers with random norms magnify the last digit
    ],
)
def test_without_displacement_and_with_full_modulation_it_is_timms_network(variant, dtype):
    torch.manual_seed(0)
    ours, theirs = timm_pair(variant)
    with torch.no_grad():
        x = torch.randn(2, 3, 64, 96, dtype=dtype)
        assert difference(ours.to(dtype), theirs.to(dtype), x) < 1e-5


def test_the_comparison_with_timm_notices_zero_weights_and_half_modulation():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert difference(*timm_pair("resnest14d", modulation=0.0), x) > 1e-2
        ours, theirs = timm_pair("resnest14d")
        ours.net.layer3[0].conv2.conv.weight.zero_()
        assert difference(ours, theirs, x) > 1e-2


def test_at_the_start_there_is_no_displacement_and_half_modulation():
    conv = DeformableConv2d(nn.Conv2d(8, 16, 3, padding=1, groups=2, bias=False), 2)
    displacement, modulation = conv.sampling(torch.randn(1, 8, 5, 6))
    assert displacement.shape == (1, 36, 5, 6) and (displacement == 0).all()
    assert modulation.shape == (1, 18, 5, 6) and (modulation == 0.5).all()


@pytest.mark.parametrize("displacement", [1e30, -1e30, float("inf"), float("nan")])
@pytest.mark.parametrize("training_path", [False, True])
def test_displacements_beyond_all_bounds_are_survived(displacement, training_path):
    conv = DeformableConv2d(nn.Conv2d(8, 16, 3, padding=1, groups=2, bias=False), 2)
    conv.offset.bias.data[:36] = displacement
    with torch.set_grad_enabled(training_path):
        out = conv(torch.randn(1, 8, 5, 6))
    assert out.isfinite().all()
    assert (out == 0).all() or displacement != displacement


def test_every_offset_convolution_learns():
    torch.manual_seed(0)
    network = randomise_norms(ResNeSt("resnest26d", "BN", DEFORM, 2))
    # Halves of a pixel away from the grid, where the bilinear surface has no kink.
    for conv in offset_convs(network).values():
        conv.bias.data[:36] = 0.3
    sum(f.square().mean() for f in network(torch.randn(2, 3, 64, 64)).values()).backward()
    assert len(offset_convs(network)) == 6
    for conv in offset_convs(network).values():
        assert conv.weight.grad[:36].abs().max() > 0 and conv.weight.grad[36:].abs().max() > 0


def test_offset_convolutions_have_the_published_shapes():
    convs = offset_convs(ResNeSt("resnest200e", "BN", DEFORM, 2))
    widths = {"net.layer2": 128, "net.layer3": 256, "net.layer4": 512}
    assert len(convs) == 24 + 36 + 3
    for name, conv in convs.items():
        width = widths[name.rsplit(".", 3)[0]]
        assert conv.weight.shape == (54, width // 2, 3, 3)
        assert conv.bias.shape == (54,)
        assert (conv.groups, conv.stride, conv.padding) == (2, (1, 1), (1, 1))


@pytest.fixture(scope="module")
def random_split_attention():
    """A deformable split attention with random weights and offsets, and an image for it."""
    torch.manual_seed(1)
    layer = timm.layers.SplitAttn(8, 8, norm_layer=nn.BatchNorm2d)
    layer.conv = DeformableConv2d(layer.conv, 2)
    randomise_norms(layer).eval()
    nn.init.normal_(layer.conv.offset.weight, std=0.3)
    nn.init.normal_(layer.conv.offset.bias)
    x = torch.randn(1, 8, 5, 6)
    with torch.no_grad():
        offsets = layer.conv.offset(x)[0]
    return layer, x, offsets


def test_with_random_offsets_it_is_the_formula(random_split_attention):
    layer, x, offsets = random_split_attention
    with torch.no_grad():
        ours = layer(x)[0]
    plain = split_attention(x[0], offsets, layer)
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pair", [(0, 1), (3, 21), (36, 37), (17, 18)])
def test_two_swapped_offset_channels_are_noticed(random_split_attention, pair):
    layer, x, offsets = random_split_attention
    swapped = offsets.clone()
    swapped[list(pair)] = offsets[list(pair[::-1])]
    with torch.no_grad():
        error = (layer(x)[0] - split_attention(x[0], swapped, layer)).abs().max()
    assert error > 1e-3


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    groups=st.sampled_from([1, 2, 4]),
    deformable=st.sampled_from([1, 2]),
    dilation=st.sampled_from([1, 2]),
    seed=st.integers(0, 99),
)
def test_sampling_on_the_cpu_is_torchvisions(height, width, groups, deformable, dilation, seed):
    torch.manual_seed(seed)
    places = [
        torch.randn(2, 8, height, width),
        2 * torch.randn(2, 18 * deformable, height, width),
        torch.rand(2, 9 * deformable, height, width),
        torch.randn(12, 8 // groups, 3, 3),
    ]
    here = [tensor.clone().requires_grad_() for tensor in places]
    there = [tensor.clone().requires_grad_() for tensor in places]
    ours = _deform_conv2d_on_cpu(*here, (dilation, dilation))
    x, displacement, modulation, weight = there
    theirs = deform_conv2d(
        x, displacement, weight, padding=dilation, dilation=dilation, mask=modulation
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    ours.square().mean().backward()
    theirs.square().mean().backward()
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4)


def test_in_mixed_precision_places_and_product_are_single():
    torch.manual_seed(0)
    conv = DeformableConv2d(nn.Conv2d(8, 16, 3, padding=1, groups=2, bias=False), 2)
    nn.init.normal_(conv.offset.weight)
    x = torch.randn(1, 8, 9, 11).bfloat16()
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            mixed = conv(x)
        assert torch.equal(mixed, conv(x.float()).bfloat16())


def test_a_prediction_on_the_cpu_samples_as_the_training_does(random_split_attention):
    """torchvision's takes three times as long."""
    layer, x, _ = random_split_attention
    with torch.no_grad():
        predicted = layer(x)
    assert torch.equal(predicted, layer(x).detach())
