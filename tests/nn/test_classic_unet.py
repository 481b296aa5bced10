"""What the classic U-Net is: its size, its computation and how it receives the time."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn import ClassicUNet


def test_parameters_number_as_in_the_paper():
    """Five levels from 64 to 1024 channels, counted by hand, with the time's feature map as one more input."""

    def two(i: int, o: int) -> int:
        return (9 * i * o + o) + (9 * o * o + o)

    def up(c: int) -> int:
        return 4 * 2 * c * c + c  # 2x2 up-convolution from 2c channels to c

    contracting = two(4, 64) + two(64, 128) + two(128, 256) + two(256, 512) + two(512, 1024)
    expanding = sum(up(c) + two(2 * c, c) for c in (512, 256, 128, 64))
    with torch.device("meta"):
        network = ClassicUNet(3, 6, width=64, levels=5)
    assert sum(p.numel() for p in network.parameters()) == contracting + expanding + (64 * 6 + 6)


def test_network_is_max_pooling_down_and_up_convolution_with_concatenation(perturbed):
    torch.manual_seed(0)
    network = perturbed(ClassicUNet(2, 3, width=4, levels=3).double())
    x, t = torch.randn(2, 2, 8, 4).double(), torch.tensor([0, 250])

    def two(module: nn.Sequential, h: torch.Tensor) -> torch.Tensor:
        for weight, bias in ((module[0].weight, module[0].bias), (module[2].weight, module[2].bias)):
            h = F.conv2d(h, weight, bias, padding=1).clamp(min=0)
        return h

    def halve(h: torch.Tensor) -> torch.Tensor:
        return h.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))

    def double(layer: nn.ConvTranspose2d, h: torch.Tensor) -> torch.Tensor:
        blocks = torch.einsum("nihw,ioyx->nohywx", h, layer.weight)
        return blocks.reshape(len(h), -1, 2 * h.shape[2], 2 * h.shape[3]) + layer.bias[:, None, None]

    time = torch.stack([torch.zeros(1, 8, 4), torch.full((1, 8, 4), 0.25)]).double()
    a = two(network.down[0], torch.cat([x, time], dim=1))
    b = two(network.down[1], halve(a))
    c = two(network.down[2], halve(b))
    h = two(network.merge[0], torch.cat([b, double(network.up[0], c)], dim=1))
    h = two(network.merge[1], torch.cat([a, double(network.up[1], h)], dim=1))
    expected = torch.einsum("nihw,oi->nohw", h, network.head.weight[:, :, 0, 0]) + network.head.bias[:, None, None]
    torch.testing.assert_close(network(x, t), expected, atol=1e-12, rtol=0)


def test_time_changes_every_output_and_only_its_scale_matters():
    torch.manual_seed(0)
    network = ClassicUNet(1, 1, width=4, levels=2)
    x, t = torch.randn(2, 1, 4, 4), torch.tensor([10, 20])
    assert ((network(x, t) - network(x, t + 50)).abs().amax((1, 2, 3)) > 1e-4).all()
    tenth = ClassicUNet(1, 1, width=4, levels=2, time_scale=100.0)
    tenth.load_state_dict(network.state_dict())
    torch.testing.assert_close(tenth(x, t), network(x, 10 * t))


def test_gradient_reaches_every_parameter(perturbed):
    torch.manual_seed(0)
    network = perturbed(ClassicUNet(1, 1, width=8, levels=3))
    network(torch.randn(2, 1, 8, 8), torch.tensor([1, 900])).square().sum().backward()
    assert [name for name, p in network.named_parameters() if not p.grad.any()] == []


def test_network_compiles_as_one_graph():
    torch.manual_seed(0)
    network = ClassicUNet(1, 1, width=4, levels=3)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([1, 900])
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, t), network(x, t))


def test_weights_start_with_variance_two_by_incoming_nodes():
    torch.manual_seed(0)
    network = ClassicUNet(1, 1, width=32, levels=2)
    assert network.down[1][2].weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)
    assert network.up[0].weight.std().item() == pytest.approx(math.sqrt(2 / 64), rel=0.02)
    assert not network.up[0].bias.any()


@pytest.mark.parametrize(("option", "value"), [("width", 0), ("levels", 0), ("time_scale", 0.0), ("time_scale", -1.0)])
def test_options_that_are_not_positive_are_refused_by_name(option, value):
    with pytest.raises(ConfigError, match=f"^ClassicUNet.{option}: expected a number above 0, got {value}"):
        ClassicUNet(1, 1, **{option: value})


def test_images_that_do_not_fit_are_refused_by_name():
    network = ClassicUNet(1, 1, width=2, levels=3)
    network.check_image_shape((1, 28, 28))
    with pytest.raises(ConfigError, match=r"can be halved 2 times, .* got 28x30; use 2 levels, .* multiples of 4"):
        network.check_image_shape((1, 28, 30))
