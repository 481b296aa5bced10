"""How a network is told the time step."""

import math

import torch
from torch import Tensor, nn

from lit_diffusion.nn.layers import linear


def sinusoidal_embedding(t: Tensor, width: int) -> Tensor:
    """[sin(t f_0), ..., sin(t f_{h-1}), cos(t f_0), ..., cos(t f_{h-1})], f_i = 10000^{-i/(h-1)}, h = width / 2.

    The embedding of Vaswani et al. 2017 as DDPM's released code has it (frequencies end at 1/10000, sines before
    cosines). t: (B,) raw integers; returns (B, width) in float32 whatever the network's precision: the release and
    diffusers do the same, in this order of operations, and trained weights expect those roundings.
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=t.device) / (half - 1))
    phases = t.float()[:, None] * frequencies  # (B, half)
    return torch.cat([phases.sin(), phases.cos()], dim=1)


class TimeEmbedding(nn.Module):
    """Sinusoidal embedding, then two dense layers, a swish after each (Ho et al. 2020, appendix B).

    t: (B,) integers; returns (B, channels). In the release every residual block begins with the second swish; it is
    the same for all of them, so it is computed here, once.

    Args:
        width: Size of the sinusoidal embedding, even and at least 4.
        channels: Size of both dense layers; DDPM has 4 * width.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.width = width
        self.dense1 = linear(width, channels)
        self.dense2 = linear(channels, channels)

    def forward(self, t: Tensor) -> Tensor:
        h = sinusoidal_embedding(t, self.width).to(self.dense1.weight.dtype)
        h = self.dense2(nn.functional.silu(self.dense1(h)))
        return nn.functional.silu(h)
