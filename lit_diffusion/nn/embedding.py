"""Embeddings of the time step."""

import math

import torch
from torch import Tensor, nn

from lit_diffusion.nn.layers import linear


def sinusoidal_embedding(
    t: Tensor, width: int, ends_at_10000: bool = True, cosines_first: bool = False, time_scale: float = 1.0
) -> Tensor:
    """[sin(t f_0), ..., sin(t f_{h-1}), cos(t f_0), ..., cos(t f_{h-1})], f_i = 10000^{-i/(h-1)}, h = width / 2.

    The embedding of Vaswani et al. 2017 as DDPM's released code has it: frequencies end at 1/10000, sines before
    cosines. Without `ends_at_10000` f_i = 10000^{-i/h}; this and `cosines_first` are Improved DDPM's (Nichol & Dhariwal
    2021, code), which also embeds t times `time_scale` = 1000 / T.

    t: (B,) raw integers; returns (B, width) in float32 whatever the network's precision: the releases and diffusers do
    the same, in this order of operations, and trained weights expect those roundings.

    >>> sinusoidal_embedding(torch.tensor([0, 1]), 4)  # [sin t, sin t/10000, cos t, cos t/10000]
    tensor([[0.0000e+00, 0.0000e+00, 1.0000e+00, 1.0000e+00],
            [8.4147e-01, 1.0000e-04, 5.4030e-01, 1.0000e+00]])
    """
    half = width // 2
    exponents = -math.log(10000) * torch.arange(half, dtype=torch.float32, device=t.device)
    frequencies = torch.exp(exponents / (half - ends_at_10000))
    phases = (t.float() * time_scale)[:, None] * frequencies  # (B, half)
    waves = [phases.sin(), phases.cos()]
    return torch.cat(waves[::-1] if cosines_first else waves, dim=1)


class TimeEmbedding(nn.Module):
    """Sinusoidal embedding, then two dense layers, a swish after each (Ho et al. 2020, appendix B).

    t: (B,) integers; label: (B, channels), added before the second swish, or None; returns (B, channels). In the
    release every residual block begins with the second swish; it is the same for all of them, so it is computed here,
    once.

    Args:
        width: Size of the sinusoidal embedding, even and at least 4.
        channels: Size of both dense layers; DDPM has 4 * width.
        ends_at_10000, cosines_first, time_scale: See `sinusoidal_embedding`.
    """

    def __init__(
        self,
        width: int,
        channels: int,
        ends_at_10000: bool = True,
        cosines_first: bool = False,
        time_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.width, self.ends_at_10000, self.cosines_first = width, ends_at_10000, cosines_first
        self.time_scale = time_scale
        self.dense1 = linear(width, channels)
        self.dense2 = linear(channels, channels)

    def forward(self, t: Tensor, label: Tensor | None = None) -> Tensor:
        h = sinusoidal_embedding(t, self.width, self.ends_at_10000, self.cosines_first, self.time_scale)
        h = h.to(self.dense1.weight.dtype)
        h = self.dense2(nn.functional.silu(self.dense1(h)))
        return nn.functional.silu(h if label is None else h + label)
