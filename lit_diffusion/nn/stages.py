"""The levels of the DDPM U-Net, down and up, made of its blocks."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lit_diffusion.nn.blocks import Attention, Downsample, ResidualBlock, Upsample


class Stage(nn.Module):
    """A residual block, then attention or nothing.

    x: (B, in_channels, H, W); time: (B, time_channels); returns (B, out_channels, H, W).
    gradient_checkpointing: keep only x for the backward pass, which computes the rest again, with the same dropout
        (Chen et al. 2016, arXiv 1604.06174).
    """

    def __init__(
        self, residual: ResidualBlock, attention: Attention | nn.Identity, gradient_checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.residual = residual
        self.attention = attention
        self.gradient_checkpointing = gradient_checkpointing

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        if not (self.gradient_checkpointing and torch.is_grad_enabled()):
            return self._compute(x, time)
        drops = self.training and self.residual.dropout.p > 0
        h: Tensor = checkpoint(self._compute, x, time, use_reentrant=False, preserve_rng_state=drops)
        return h

    def _compute(self, x: Tensor, time: Tensor) -> Tensor:
        h: Tensor = self.attention(self.residual(x, time))
        return h


class Down(nn.Module):
    """One level of the way down; returns every feature map that the way up will use, the level's output last."""

    def __init__(self, stages: Sequence[Stage], downsample: Downsample | None) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.downsample = downsample

    def forward(self, h: Tensor, time: Tensor) -> list[Tensor]:
        features = []
        for stage in self.stages:
            h = stage(h, time)
            features.append(h)
        if self.downsample is not None:
            features.append(self.downsample(h))
        return features


class Up(nn.Module):
    """One level of the way up; each stage takes the last of `skips` off the list."""

    def __init__(self, stages: Sequence[Stage], upsample: Upsample | nn.Identity) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.upsample = upsample

    def forward(self, h: Tensor, skips: list[Tensor], time: Tensor) -> Tensor:
        for stage in self.stages:
            h = stage(torch.cat([h, skips.pop()], dim=1), time)
        return self.upsample(h)
