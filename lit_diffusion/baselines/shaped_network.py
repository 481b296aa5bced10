"""Networks from one shape to another, and the Gaussians that they parametrise."""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn

from lit_diffusion.diffusion.distributions import Gaussian
from lit_diffusion.errors import ConfigError, first_words

Shape = tuple[int, ...]
ShapedNetwork = Callable[[Shape, Shape], nn.Module]  # built with shapes (C, *), (D, *); called with (B, C, *)


@torch.no_grad()
def build_network(network: ShapedNetwork, in_shape: Shape, out_shape: Shape, key: str) -> nn.Module:
    """The network from examples (B, *in_shape) to (B, *out_shape), evaluated once for zeros.

    Raises ConfigError, by the setting `key`, if it cannot be built or returns another shape.
    """
    try:
        built = network(in_shape, out_shape)
        parameter = next(built.parameters(), torch.empty(0))
        zeros = torch.zeros(1, *in_shape, dtype=parameter.dtype, device=parameter.device)
        found = tuple(built.eval()(zeros).shape[1:])
        built.train()
    except ConfigError as error:
        raise ConfigError(str(error), error.key or key) from error
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"expected a network that is built from two shapes, here {list(in_shape)} and {list(out_shape)}, and maps "
            f"one to the other ({first_words(error)}); use ConvEncoder, ConvDecoder or DenseNetwork",
            key,
        ) from error
    if found != out_shape:
        raise ConfigError(f"expected outputs of shape {list(out_shape)}, got {list(found)}; use another network", key)
    return built


class GaussianNetwork(nn.Module):
    """N(mu(x), diag sigma^2(x)) over (B, *out_shape) for x (B, *in_shape): the network's output is mu and log sigma^2.

    network: called once with in_shape and out_shape, of which the first number is doubled. Log variances are kept
    within [-30, 20].
    """

    def __init__(self, network: ShapedNetwork, in_shape: Shape, out_shape: Shape, key: str):
        super().__init__()
        self.network = build_network(network, in_shape, (2 * out_shape[0], *out_shape[1:]), key)

    def forward(self, x: Tensor) -> Gaussian:
        mean, log_variance = self.network(x).to(x.dtype).chunk(2, dim=1)  # mixed precision ends here
        return Gaussian(mean, log_variance=log_variance.clamp(-30, 20))


def read_shape(setting: str, shape: Shape) -> Shape:
    """A shape from a configuration. Raises ConfigError unless it is one or more positive numbers."""
    shape = tuple(shape)
    if not shape or min(shape) < 1 or prod(shape) > 2**31:
        raise ConfigError(
            f"expected one or more positive numbers, got {list(shape)}; use, say, [16]", f"model.vae.{setting}"
        )
    return shape
