"""What generators and discriminators compute, what spectral normalisation keeps, and which shapes fit."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn import ConvDiscriminator, ConvGenerator

SHAPES = [((1, 8, 8), 2), ((1, 28, 28), 3), ((3, 32, 32), 4), ((2, 12, 20), 3)]


@pytest.mark.parametrize(("shape", "levels"), SHAPES, ids=str)
def test_images_have_the_datas_shape_and_range(shape, levels):
    torch.manual_seed(0)
    x = ConvGenerator((16,), shape, width=8, levels=levels)(torch.randn(3, 16))
    assert x.shape == (3, *shape)
    assert x.abs().max() < 1 and x.std(0).mean() > 0.05
    assert ConvDiscriminator(shape, (1,), width=8, levels=levels)(x).shape == (3, 1)


def test_the_networks_for_32x32_are_those_of_table_3():
    """Miyato et al. 2018: 128 noise, 512 channels at 4x4; seven convolutions and a dense layer in the discriminator."""
    with torch.device("meta"):
        shape = (3, 32, 32)
        generator, discriminator = ConvGenerator((128,), shape), ConvDiscriminator(shape, (1,), spectral_norm=False)
    up = sum(16 * i * o + 2 * o for i, o in ((512, 256), (256, 128), (128, 64)))
    assert sum(p.numel() for p in generator.parameters()) == 129 * 512 * 16 + 2 * 512 + up + (9 * 64 * 3 + 3)
    layers = [m for m in discriminator.layers if isinstance(m, nn.Conv2d | nn.Linear)]
    sizes = [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in layers[:-1]]
    assert sizes == [
        *((3, 64, 3, 1), (64, 64, 4, 2), (64, 128, 3, 1), (128, 128, 4, 2)),
        *((128, 256, 3, 1), (256, 256, 4, 2), (256, 512, 3, 1)),
    ]
    assert (layers[-1].in_features, layers[-1].out_features) == (512 * 4 * 4, 1)


def test_a_generator_is_dense_up_convolutions_normalised_and_tanh(perturbed):
    """Computed again; each sample is a function of its own noise."""
    torch.manual_seed(0)
    network = perturbed(ConvGenerator((5,), (2, 8, 4), width=4, levels=2, groups=2).double())
    z = torch.randn(3, 5).double()
    h = (z @ network.dense.weight.T + network.dense.bias).view(3, 8, 4, 2)
    h = F.group_norm(h, 2, network.norms[0].weight, network.norms[0].bias, 1e-6).clamp(min=0)
    h = F.conv_transpose2d(h, network.up[0].weight, stride=2, padding=1)
    h = F.group_norm(h, 2, network.norms[1].weight, network.norms[1].bias, 1e-6).clamp(min=0)
    expected = torch.tanh(F.conv2d(h, network.last.weight, network.last.bias, padding=1))
    torch.testing.assert_close(network(z), expected)
    torch.testing.assert_close(network(z[1:2]), expected[1:2])


def test_spectral_normalisation_makes_the_largest_singular_value_one():
    """Of each layer's matrix (out, in * kernel), after enough iterations."""
    torch.manual_seed(0)
    network, x = ConvDiscriminator((1, 8, 8), (1,), width=4, levels=2), torch.randn(2, 1, 8, 8)
    for _ in range(300):
        network(x)
    layers = [layer for layer in network.layers if hasattr(layer, "weight")]
    assert len(layers) == 4
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-4)


def test_the_state_of_spectral_normalisation_moves_in_training_only():
    """Its vectors are buffers: evaluation leaves them, a copy of the state continues to the same numbers."""
    torch.manual_seed(0)
    network, x = ConvDiscriminator((1, 8, 8), (1,), width=4, levels=2), torch.randn(2, 1, 8, 8)
    before = copy.deepcopy(network.state_dict())
    vectors = [name for name in before if name.endswith(("_u", "_v"))]
    assert len(vectors) == 2 * 4
    network.eval()(x)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network.train()(x)
    changed = [name for name in vectors if not torch.equal(network.state_dict()[name], before[name])]
    assert len(changed) == 2 * 3  # the last layer has one output, and so its vectors from the start
    other = ConvDiscriminator((1, 8, 8), (1,), width=4, levels=2)
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(x), network(x)) and torch.equal(other(x), network(x))


BUILD = {
    ConvGenerator: lambda shape, **options: ConvGenerator((16,), shape, **options),
    ConvDiscriminator: lambda shape, **options: ConvDiscriminator(shape, (1,), **options),
}


@pytest.mark.parametrize("network", [ConvGenerator, ConvDiscriminator])
def test_what_does_not_fit_is_refused_by_name(network):
    build, name = BUILD[network], network.__name__
    with pytest.raises(ConfigError, match=f"^{name}.levels: expected 3 at most, since images of 28x20 can be halved 2"):
        build((1, 28, 20))
    with pytest.raises(ConfigError, match=rf"^{name}: expected images \(C, H, W\), got .* shape \(2,\); use DenseNet"):
        build((2,))
    with pytest.raises(ConfigError, match=f"^{name}.width: expected 1 or more, got 0"):
        build((1, 8, 8), width=0)
    if network is ConvGenerator:
        with pytest.raises(ConfigError, match="^ConvGenerator.groups: .* divides width=12, got 8; use 4"):
            build((1, 8, 8), width=12, levels=2)
