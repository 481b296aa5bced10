"""Networks between two shapes: sizes, gradients, and what they refuse."""

import pytest
import torch

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn import ConvDecoder, ConvEncoder, DenseNetwork


@pytest.mark.parametrize(
    "image, multipliers, latent",
    [
        ((1, 8, 8), (1, 2), (16,)),
        ((1, 28, 28), (1, 2, 2), (4, 7, 7)),
        ((3, 32, 32), (1, 2, 2, 4), (64,)),
        ((2, 8, 12), (1, 1, 1), (3, 2, 3)),
    ],
)
@pytest.mark.parametrize("network", [ConvEncoder, ConvDecoder])
def test_every_output_depends_on_every_input_and_every_weight_is_trained(network, image, multipliers, latent):
    shapes = (image, latent) if network is ConvEncoder else (latent, image)
    torch.manual_seed(0)
    built = network(*shapes, width=8, multipliers=multipliers, groups=4)
    x = torch.randn(2, *shapes[0], requires_grad=True)
    out = built(x)
    assert out.shape == (2, *shapes[1])
    (out * torch.randn_like(out)).sum().backward()
    assert (x.grad != 0).all()
    assert all((p.grad != 0).any() for p in built.parameters())
    torch.testing.assert_close(built(x[:1]), out[:1])  # examples do not mix


def test_a_pair_learns_to_reconstruct():
    """A bar in one of 8 rows, through 8 numbers: the error falls below a hundredth of its start."""
    torch.manual_seed(0)
    x = -torch.ones(8, 1, 8, 8)
    x[range(8), 0, range(8)] = 1.0
    pair = torch.nn.Sequential(ConvEncoder((1, 8, 8), (8,), width=8), ConvDecoder((8,), (1, 8, 8), width=8))
    optimizer = torch.optim.Adam(pair.parameters(), 3e-3)
    errors = []
    for _ in range(150):
        optimizer.zero_grad()
        error = ((pair(x) - x) ** 2).mean()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < errors[0] / 100


@pytest.mark.parametrize(
    "build, message",
    [
        (
            lambda: ConvEncoder((1, 28, 28), (8,), multipliers=(1, 1, 1, 1)),
            r"ConvEncoder.multipliers: .*28x28.*use 3",
        ),
        (lambda: ConvEncoder((2,), (8,)), "expected images .* use DenseNetwork"),
        (lambda: ConvEncoder((1, 8, 8), (4, 3, 3)), r"4x4 images, .*set its shape to \[C, 4, 4\]"),
        (lambda: ConvDecoder((8,), (1, 8, 8), width=12), "ConvDecoder.groups: .* use 4"),
        (lambda: ConvDecoder((8,), (1, 8, 8), multipliers=()), "ConvDecoder.multipliers: expected one or more"),
        (lambda: DenseNetwork((2,), (2,), depth=-1), "DenseNetwork.depth: expected 0 or more"),
        (lambda: DenseNetwork((2,), (2,), width=0), "DenseNetwork.width: expected 1 or more"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
