"""Weights of the steps in L_simple."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.errors import ConfigError


class Weighting(ABC):
    """A weight for each step on the loss of the network's target.

    needs_eps: whether it weighs squared errors, which only models with Gaussian noise have.
    """

    needs_eps = True

    @abstractmethod
    def __call__(self, reverse: ReverseModel, t: Tensor) -> Tensor:
        """Weights for steps t (B,): (B,) float64."""


class Constant(Weighting):
    """1 at every step  (Ho et al. 2020, eq. 14)."""

    needs_eps = False

    def __call__(self, reverse: ReverseModel, t: Tensor) -> Tensor:
        return torch.ones_like(t, dtype=torch.float64)


class MinSNR(Weighting):
    """min(SNR_t, gamma) on the squared error of x_0, whatever the network predicts.

    Hang et al. 2023 (arXiv 2303.09556).
    """

    def __init__(self, gamma: float = 5.0):
        if gamma <= 0:
            raise ConfigError(f"MinSNR.gamma: expected a positive number, got {gamma:g}; use 5")
        self.gamma = gamma

    def __call__(self, reverse: ReverseModel, t: Tensor) -> Tensor:
        snr = reverse.process.schedule.log_snr(t).exp()
        return convert_weight(reverse, t, snr.clamp(max=self.gamma))


class BoundWeight(Weighting):
    """The true weight of L: mean squared error times this weight is L_{t-1} in nats per dimension, up to the part of
    the KL that compares the two fixed variances and has no parameters (zero for PosteriorVariance).

    beta_t^2 / (2 sigma_t^2 alpha_t (1 - alpha_bar_t)) for eps (Ho et al. 2020, eq. 12), and what follows from it for
    the other targets. At t = 1 it is the Gaussian density's weight, although L_0 uses the discretized decoder.
    """

    def __call__(self, reverse: ReverseModel, t: Tensor) -> Tensor:
        return convert_weight(reverse, t, reverse.bound_sensitivity(t))


def convert_weight(reverse: ReverseModel, t: Tensor, x_0_weight: Tensor) -> Tensor:
    """A weight on the squared error of x_0 as a weight on the squared error of the network's target, (B,) float64."""
    sensitivity = reverse.target_sensitivity(t)
    return torch.where(sensitivity > 0, x_0_weight / sensitivity, 0)
