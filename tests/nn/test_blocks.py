"""The parts of the U-Net against independent computations in float64."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lit_diffusion.nn import layers
from lit_diffusion.nn.blocks import Attention, Downsample, ResidualBlock, Upsample
from lit_diffusion.nn.layers import conv, linear


def group_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, groups: int) -> torch.Tensor:
    """From the definition: every group of channels to mean 0 and variance 1 (eps 1e-6)."""
    rows = x.reshape(x.shape[0], groups, -1)
    rows = (rows - rows.mean(2, keepdim=True)) / (rows.var(2, keepdim=True, unbiased=False) + 1e-6).sqrt()
    return rows.reshape(x.shape) * weight[:, None, None] + bias[:, None, None]


@pytest.mark.parametrize("channels", [(6, 6), (6, 9)], ids=["identity shortcut", "1x1 shortcut"])
def test_residual_block_is_the_release_written_with_functions(channels, perturbed):
    torch.manual_seed(0)
    block = perturbed(ResidualBlock(*channels, time_channels=5, groups=3, dropout=0.5).double())
    x, time = torch.randn(2, channels[0], 4, 6).double(), torch.randn(2, 5).double()
    p = dict(block.named_parameters())
    h = group_norm(x, p["norm1.weight"], p["norm1.bias"], 3)
    h = F.conv2d(h * torch.sigmoid(h), p["conv1.weight"], p["conv1.bias"], padding=1)
    h = h + torch.einsum("bi,oi->bo", time, p["time.weight"])[..., None, None] + p["time.bias"][:, None, None]
    h = group_norm(h, p["norm2.weight"], p["norm2.bias"], 3)
    h = F.conv2d(h * torch.sigmoid(h), p["conv2.weight"], p["conv2.bias"], padding=1)
    shortcut = x
    if channels[0] != channels[1]:
        shortcut = (
            torch.einsum("bihw,oi->bohw", x, p["shortcut.weight"][:, :, 0, 0]) + p["shortcut.bias"][:, None, None]
        )
    torch.testing.assert_close(block(x, time), shortcut + h, atol=1e-12, rtol=0)


def test_scale_and_shift_follow_the_second_norm(perturbed):
    """norm(h) (1 + scale) + shift, in the order scale, shift  (Nichol & Dhariwal 2021, appendix A)."""
    torch.manual_seed(0)
    block = perturbed(ResidualBlock(6, 6, 5, groups=3, dropout=0.5, scale_shift=True, norm_eps=1e-5).double())
    x, time = torch.randn(2, 6, 4, 6).double(), torch.randn(2, 5).double()
    scale, shift = (part[:, :, None, None] for part in block.time(time).split(6, dim=1))
    h = F.group_norm(x, 3, block.norm1.weight, block.norm1.bias, 1e-5)
    h = block.conv1(h * torch.sigmoid(h))
    h = F.group_norm(h, 3, block.norm2.weight, block.norm2.bias, 1e-5) * (1 + scale) + shift
    torch.testing.assert_close(block(x, time), x + block.conv2(h * torch.sigmoid(h)), atol=1e-12, rtol=0)


@pytest.mark.parametrize("num_heads", [1, 4])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_attention_is_softmax_of_scaled_products(num_heads, memory_format, perturbed):
    torch.manual_seed(0)
    attention = perturbed(Attention(8, num_heads, groups=2).double())
    x = torch.randn(2, 8, 3, 5).double().contiguous(memory_format=memory_format)
    p = dict(attention.named_parameters())

    def one_by_one(name: str, h: torch.Tensor) -> torch.Tensor:
        return F.conv2d(h, p[f"{name}.weight"][:, :, None, None], p[f"{name}.bias"])

    h = group_norm(x, p["norm.weight"], p["norm.bias"], 2)
    q, k, v = (one_by_one(name, h).reshape(2, num_heads, -1, 15) for name in ("query", "key", "value"))
    weights = torch.softmax(torch.einsum("nhci,nhcj->nhij", q, k) * (8 // num_heads) ** -0.5, dim=-1)
    h = torch.einsum("nhij,nhcj->nhci", weights, v).reshape(x.shape)
    torch.testing.assert_close(attention(x), x + one_by_one("out", h), atol=1e-12, rtol=0)


def test_downsample_pads_right_and_bottom():
    """Output (i, j) sees rows 2i..2i+2 and columns 2j..2j+2, zero beyond the image."""
    torch.manual_seed(0)
    layer = Downsample(2).double()
    x = torch.randn(1, 2, 4, 6).double()
    image = np.zeros((2, 5, 7))
    image[:, :4, :6] = x[0].numpy()
    weight = layer.conv.weight.detach().numpy()
    expected = np.zeros((2, 2, 3))
    for i in range(2):
        for j in range(3):
            expected[:, i, j] = np.tensordot(weight, image[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3], axes=3)
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), expected, atol=1e-12)


def test_symmetric_downsample_is_a_padded_convolution():
    torch.manual_seed(0)
    layer = Downsample(2, symmetric=True).double()
    x = torch.randn(1, 2, 4, 6).double()
    expected = F.conv2d(x, layer.conv.weight, layer.conv.bias, stride=2, padding=1)
    torch.testing.assert_close(layer(x), expected, atol=1e-12, rtol=0)


def test_upsample_convolves_the_image_of_repeated_pixels():
    torch.manual_seed(0)
    layer = Upsample(2).double()
    x = torch.randn(1, 2, 3, 4).double()
    repeated = torch.from_numpy(x.numpy().repeat(2, axis=2).repeat(2, axis=3))
    expected = F.conv2d(repeated, layer.conv.weight, layer.conv.bias, padding=1)
    torch.testing.assert_close(layer(x), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("gain", [1.0, 1e-5])
def test_weights_start_uniform_with_the_variance_of_the_mean_fan(gain):
    """Variance gain^2 / ((fan_in + fan_out) / 2), limit sqrt(3) standard deviations, biases zero."""
    torch.manual_seed(0)
    for layer, mean_fan in ((conv(32, 64, 3, gain=gain), 9 * 48), (linear(128, 64, gain=gain), 96)):
        deviation = gain / math.sqrt(mean_fan)
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.02)
        assert layer.weight.abs().max().item() == pytest.approx(math.sqrt(3) * deviation, rel=0.01)
        assert not layer.bias.any()


def test_norms_are_float32_in_mixed_precision():
    """As on GPUs, where autocast sees to it; float64 stays what it is."""
    norm, x = layers.group_norm(2, 4), 100 + torch.randn(2, 4, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(norm(x.bfloat16()), norm(x.bfloat16().float()), rtol=0, atol=0)
    assert norm.double()(x.double()).dtype == torch.float64
