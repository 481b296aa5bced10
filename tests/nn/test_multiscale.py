"""The image network of 2015 against its steps written with loops and functions."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn import MultiScaleNetwork
from lit_diffusion.nn.multiscale import MultiScaleConvolution

SMALL = {"num_steps": 50, "width": 5, "depth": 2, "scales": 3, "dense_width": 6, "dense_depth": 2, "num_bumps": 4}
X = torch.randn(3, 2, 8, 12, generator=torch.Generator().manual_seed(2))
T = torch.tensor([0, 20, 49])


@pytest.fixture
def network(perturbed) -> MultiScaleNetwork:
    torch.manual_seed(0)
    return perturbed(MultiScaleNetwork(2, 3, **SMALL))


def pooled_convolved_repeated(layer: MultiScaleConvolution, x: Tensor) -> Tensor:
    """Each scale from the image itself: means of blocks, a convolution, blocks of the result, and their sum."""
    total = layer.convs[0].bias[:, None, None]
    for s, convolution in enumerate(layer.convs):
        means = x.unfold(2, 2**s, 2**s).unfold(3, 2**s, 2**s).mean((4, 5))
        small = F.conv2d(means, convolution.weight, padding=1)
        total = total + small.repeat_interleave(2**s, dim=2).repeat_interleave(2**s, dim=3)
    return total


@pytest.mark.parametrize("scales", [1, 2, 3])
def test_multi_scale_convolution_pools_convolves_repeats_and_sums(scales, perturbed):
    torch.manual_seed(0)
    layer = perturbed(MultiScaleConvolution(2, 4, scales).double())
    expected = pooled_convolved_repeated(layer, X.double())
    torch.testing.assert_close(layer(X.double()), expected, atol=1e-13, rtol=0)


def test_network_is_convolutions_then_every_pixel_by_itself_then_bumps_over_time(network):
    network = network.double()
    h = X.double()
    for layer in network.convs:
        h = (1 + pooled_convolved_repeated(layer, h).exp()).log()
    for layer in network.dense:
        h = torch.tanh(torch.einsum("oi,bihw->bohw", layer.weight[:, :, 0, 0], h) + layer.bias[:, None, None])
    expected = torch.zeros(3, 3, 8, 12).double()
    for b, t in enumerate(T.tolist()):
        heights = [math.exp(-((t - 49 * j / 3) ** 2) / (2 * (49 / 3) ** 2)) for j in range(4)]
        for j, height in enumerate(heights):
            z = torch.einsum("of,fhw->ohw", network.readout.weight[j], h[b]) + network.readout.bias[j][:, None, None]
            expected[b] += height / sum(heights) * z
    torch.testing.assert_close(network(X.double(), T), expected, atol=1e-12, rtol=0)


def test_parameters_number_as_counted_by_hand(network):
    convolutions = 3 * 9 * 2 * 5 + 5 + 3 * 9 * 5 * 5 + 5
    dense = 5 * 6 + 6 + 6 * 6 + 6
    assert sum(parameter.numel() for parameter in network.parameters()) == convolutions + dense + 4 * 3 * (6 + 1)
    assert network.num_steps == 50


def test_a_pixel_sees_as_far_as_the_coarsest_scale(perturbed):
    """One layer of three scales: the top left pixel sees the first two blocks of 4x4 pixels each way, and no more."""
    torch.manual_seed(0)
    network = perturbed(MultiScaleNetwork(1, 1, 50, width=4, depth=1, scales=3))
    x = torch.randn(1, 1, 16, 16, requires_grad=True)
    network(x, T[:1])[0, 0, 0, 0].backward()
    assert x.grad[0, 0, :8, :8].all()
    assert not x.grad[0, 0, 8:].any()
    assert not x.grad[0, 0, :, 8:].any()


def test_gradient_reaches_every_parameter(network):
    network(X, T).square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if not parameter.grad.any()] == []


def test_examples_do_not_see_each_other_and_time_changes_every_output(network):
    alone = torch.cat([network(X[i : i + 1], T[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(network(X, T), alone, atol=1e-6, rtol=1e-5)
    assert ((network(X, T) - network(X, 49 - T - 1)).abs().amax((1, 2, 3)) > 1e-3).all()


def test_fresh_network_returns_zero_and_a_seed_decides_it():
    torch.manual_seed(0)
    first = MultiScaleNetwork(2, 3, **SMALL)
    torch.manual_seed(0)
    second = MultiScaleNetwork(2, 3, **SMALL)
    assert not first(X, T).any()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_channels_last_and_autocast_change_only_the_rounding(network):
    expected = network(X, T)
    scale = expected.abs().max()
    with torch.autocast("cpu", torch.bfloat16):
        assert (network(X, T).float() - expected).abs().max() < 0.05 * scale
    network = network.to(memory_format=torch.channels_last)
    x = X.contiguous(memory_format=torch.channels_last)
    assert (network(x, T) - expected).abs().max() < 1e-5 * scale


def test_network_compiles_as_one_graph(network):
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(X, T), network(X, T))


@pytest.mark.parametrize("option", ["num_steps", "width", "depth", "scales", "dense_width", "dense_depth"])
def test_options_that_are_not_positive_are_refused_by_name(option):
    with pytest.raises(ConfigError, match=f"^MultiScaleNetwork.{option}: expected 1 or more, got 0"):
        MultiScaleNetwork(1, 1, **{**SMALL, option: 0})


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((2, 8, 10), "that can be halved 2 times, .* got 8x10; use 2 levels, .* multiples of 4"),
        (
            (1, 8, 8),
            "expected images of 2 channels, for which MultiScaleNetwork was built, got 1; give the model 1 channels",
        ),
        ((2,), r"expected images \(C, H, W\) for MultiScaleNetwork, got examples of shape \(2,\); use VectorMLP"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_by_name(network, shape, advice):
    network.check_image_shape((2, 28, 12))
    with pytest.raises(ConfigError, match=advice):
        network.check_image_shape(shape)
