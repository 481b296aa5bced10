"""The last, affine layer of the networks of Sohl-Dickstein et al. 2015, which may differ from step to step."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn.checks import check_positive


class Readout(nn.Module, ABC):
    """W_t h + b_t: `readout(h, t)` is (B, out_channels, *) for features h (B, in_features, *) and integer t (B,).

    Built from (in_features, out_channels, ...); t holds 0..T-1. Weights start at zero: a fresh network returns zero.

    num_steps: T, if the readout depends on t; else None.
    """

    num_steps: int | None = None

    @abstractmethod
    def forward(self, h: Tensor, t: Tensor) -> Tensor: ...


class SharedReadout(Readout):
    """One W and b for all steps: for a network that depends on t elsewhere. h: (B, in_features)."""

    def __init__(self, in_features: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_channels, in_features))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, h: Tensor, t: Tensor) -> Tensor:
        return nn.functional.linear(h, self.weight, self.bias)


class StepReadout(Readout):
    """A separate W_t and b_t for each step  (Sohl-Dickstein et al. 2015, appendix D.1).

    num_steps: T of the process.
    """

    def __init__(self, in_features: int, out_channels: int, num_steps: int) -> None:
        super().__init__()
        check_positive("StepReadout", num_steps=num_steps)
        self.num_steps = num_steps
        self.weight = nn.Parameter(torch.zeros(num_steps, out_channels, in_features))
        self.bias = nn.Parameter(torch.zeros(num_steps, out_channels))

    def forward(self, h: Tensor, t: Tensor) -> Tensor:
        # Its gradient is faster than that of indexing; torch calls that of index_select not reproducible on a GPU.
        weight = nn.functional.embedding(t, self.weight.flatten(1)).unflatten(1, self.weight.shape[1:])
        return _affine(weight, nn.functional.embedding(t, self.bias), h)


class BumpReadout(Readout):
    """W_t = sum_j g_j(t) W_j and b_t = sum_j g_j(t) b_j, with J bumps over time  (2015, appendix D.2, "readout").

    g_j(t) = exp(-(t - tau_j)^2 / 2 w^2) / sum_k exp(-(t - tau_k)^2 / 2 w^2), centres tau_1..tau_J evenly from the first
    step to the last. This is W_j h + b_j, the paper's coefficients of the bumps, weighted after a sum that is J times
    smaller.

    num_steps: T of the process. num_bumps: J, 2 or more. bump_width: w in units of the distance between centres; 1 in
    the paper's text, 0.5 in its released code.
    """

    def __init__(
        self, in_features: int, out_channels: int, num_steps: int, num_bumps: int = 10, bump_width: float = 1.0
    ) -> None:
        super().__init__()
        check_positive("BumpReadout", num_steps=num_steps)
        if num_bumps < 2:
            raise ConfigError(f"BumpReadout.num_bumps: expected 2 or more, to tell steps apart; got {num_bumps}")
        if not bump_width > 0:
            raise ConfigError(f"BumpReadout.bump_width: expected a number above 0, got {bump_width}; use 1.0")
        self.num_steps: int = num_steps
        self.num_bumps = num_bumps
        self.bump_width = bump_width
        self.weight = nn.Parameter(torch.zeros(num_bumps, out_channels, in_features))
        self.bias = nn.Parameter(torch.zeros(num_bumps, out_channels))

    def bumps(self, t: Tensor) -> Tensor:
        """g_1(t)..g_J(t): (B, J), each row sums to 1, for t (B,) in 0..T-1."""
        dtype = torch.promote_types(self.weight.dtype, torch.float32)  # bfloat16 does not hold 1001
        centres = torch.arange(self.num_bumps, dtype=dtype, device=t.device)
        position = t.to(dtype) * ((self.num_bumps - 1) / max(self.num_steps - 1, 1))  # in 0..J-1
        distance = (position[:, None] - centres) / self.bump_width
        return (-distance.square() / 2).softmax(1).to(self.weight.dtype)

    def forward(self, h: Tensor, t: Tensor) -> Tensor:
        bumps = self.bumps(t)
        weight = (bumps @ self.weight.flatten(1)).unflatten(1, self.weight.shape[1:])
        return _affine(weight, bumps @ self.bias, h)


def _affine(weight: Tensor, bias: Tensor, h: Tensor) -> Tensor:
    """Example by example, weight (B, O, F), bias (B, O), h (B, F, *): (B, O, *)."""
    out = torch.einsum("bof,bf...->bo...", weight, h)
    return out + bias.reshape(*bias.shape, *[1] * (h.dim() - 2))
