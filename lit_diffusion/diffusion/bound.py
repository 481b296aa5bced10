"""The variational bound on -log p(x_0), in its three named terms (Ho et al. 2020, eq. 5).

L = L_T + sum_{t=2..T} L_{t-1} + L_0, in nats, one value per image. Uses only the methods of distributions, so
that it holds for Gaussian and binary data.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_diffusion.diffusion.reverse import ReverseModel, ReversePrediction


def prior_kl(reverse: ReverseModel, x_0: Tensor) -> Tensor:
    """L_T = KL(q(x_T | x_0), p(x_T)) in nats, (B,)."""
    process = reverse.process
    last = torch.full((len(x_0),), process.num_steps, device=x_0.device)
    return sum_per_image(process.marginal(x_0, last).kl(process.prior(tuple(x_0.shape), x_0.device)))


def diffusion_kl(prediction: ReversePrediction, x_0: Tensor, s: Tensor) -> Tensor:
    """L_{t-1} = KL(q(x_s | x_t, x_0), p(x_s | x_t)) in nats, (B,), for steps 1 <= s < t; infinite where s = 0."""
    process = prediction.reverse.process
    return sum_per_image(process.posterior(x_0, prediction.x_t, prediction.t, s).kl(prediction.transition(s)))


def reconstruction_nll(prediction: ReversePrediction, x_0: Tensor) -> Tensor:
    """L_0 = -log p(x_0 | x_t) in nats, (B,); the bound's last term at t = 1."""
    last = prediction.transition(torch.zeros_like(prediction.t))
    return sum_per_image(prediction.reverse.reconstruction_nll(x_0, last))


def bound_term(prediction: ReversePrediction, x_0: Tensor, s: Tensor | None = None) -> Tensor:
    """The term of the bound at each image's step t: L_{t-1}, or L_0 where s = 0. In nats, (B,).

    s: (B,), by default t - 1.
    """
    s = prediction.t - 1 if s is None else s
    reverse, p = prediction.reverse, prediction.transition(s)
    kl = reverse.process.posterior(x_0, prediction.x_t, prediction.t, s).kl(p)
    return torch.where(s == 0, sum_per_image(reverse.reconstruction_nll(x_0, p)), sum_per_image(kl))


def bits_per_dim(nats: Tensor, x_0: Tensor) -> Tensor:
    """Nats per image, (B,), as bits per dimension of images x_0 (B, *).

    >>> nats = torch.tensor([math.log(256) * 3 * 32 * 32])  # of a uniform guess among 256 levels
    >>> bits_per_dim(nats, torch.zeros(1, 3, 32, 32))
    tensor([8.])
    """
    return nats / (x_0[0].numel() * math.log(2))


@dataclass(frozen=True)
class Bound:
    """The bound of each image, in nats, for steps t_1 < ... < t_K, by default all of 1..T.

    prior_kl: (B,). diffusion_kl: (B, K-1), the terms of t_2..t_K. reconstruction_nll: (B,).
    x_0_error: (B, K), mean squared error of the predicted x_0 on the [-1, 1] scale, at each step.
    """

    prior_kl: Tensor
    diffusion_kl: Tensor
    reconstruction_nll: Tensor
    x_0_error: Tensor

    @property
    def total(self) -> Tensor:
        """L, (B,)."""
        return self.rate[:, 0] + self.reconstruction_nll

    @property
    def rate(self) -> Tensor:
        """Nats sent once steps T..t_k are known, (B, K): L_T and the terms above t_k  (Ho et al. 2020, section 4.3)."""
        terms = torch.cat([self.diffusion_kl, torch.zeros_like(self.prior_kl)[:, None]], dim=1)
        return self.prior_kl[:, None] + terms.flip(1).cumsum(1).flip(1)

    @property
    def distortion(self) -> Tensor:
        """Root mean squared error of the estimate of x_0 at t_k on the 0..255 scale, (B, K)."""
        return 127.5 * self.x_0_error.sqrt()


@torch.no_grad()
def variational_bound(
    reverse: ReverseModel, x_0: Tensor, generator: torch.Generator | None = None, steps: Sequence[int] | None = None
) -> Bound:
    """All terms of the bound for images x_0 (B, *), with the predicted x_0 clipped as in sampling.

    Each term has an independent draw of x_t ~ q(x_t | x_0). steps: ascending subset of 1..T; the bound is then that of
    the chain over these steps. Raises ConfigError if the model cannot skip steps.
    """
    process, size = reverse.process, (len(x_0),)
    steps = range(1, process.num_steps + 1) if steps is None else steps
    reverse.check_steps(steps)
    terms, errors = [], []
    for step, previous in zip(steps, [0, *steps]):
        t, s = (torch.full(size, step, device=x_0.device) for step in (step, previous))
        prediction = reverse.predict(process.marginal(x_0, t).sample(generator), t, clip=True)
        terms.append(bound_term(prediction, x_0, s))
        errors.append(((prediction.x_0 - x_0) ** 2).flatten(1).mean(1))
    last = torch.full(size, steps[-1], device=x_0.device)
    prior = process.prior(tuple(x_0.shape), x_0.device)
    return Bound(
        prior_kl=sum_per_image(process.marginal(x_0, last).kl(prior)),
        diffusion_kl=torch.stack(terms[1:], dim=1) if len(terms) > 1 else x_0.new_zeros(len(x_0), 0),
        reconstruction_nll=terms[0],
        x_0_error=torch.stack(errors, dim=1),
    )


def sum_per_image(nats: Tensor) -> Tensor:
    """Sum over all but the first dimension: (B, *) to (B,)."""
    return nats.flatten(1).sum(1)
