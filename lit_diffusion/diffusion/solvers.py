"""Solvers of the probability-flow ODE and of its stochastic relatives, of first and second order.

alpha_t = sqrt(alpha_bar_t), sigma_t = sqrt(1 - alpha_bar_t), lambda_t = log(alpha_t / sigma_t), half the log SNR.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from lit_diffusion.diffusion.distributions import Distribution, Gaussian
from lit_diffusion.diffusion.reverse import ReverseModel, ReversePrediction
from lit_diffusion.diffusion.sampler import Sampler, Spacing
from lit_diffusion.diffusion.schedule import NoiseSchedule, spread
from lit_diffusion.errors import ConfigError


class DDIMSampler(Sampler):
    """The non-Markovian process of Song et al. 2020 (arXiv 2010.02502, eq. 12), with sigma = eta sqrt(beta~_{t|s}).

    eta: 0 is deterministic, 1 is the ancestral sampler with the posterior variance. eps follows from the clipped x_0.
    """

    needs_eps = True

    def __init__(
        self,
        steps: int | list[int] | None = None,
        eta: float = 0.0,
        spacing: Spacing = "uniform",
        guidance_scale: float = 0.0,
    ):
        super().__init__(steps, spacing, guidance_scale)
        if not 0 <= eta <= 1:
            raise ConfigError(
                f"{type(self).__name__}.eta: expected a number in [0, 1], got {eta:g}; use 0 for the deterministic "
                "sampler"
            )
        self.eta = eta

    @property
    def deterministic(self) -> bool:
        return self.eta == 0

    def transition(self, prediction: ReversePrediction, s: Tensor) -> Gaussian:
        return self.move(prediction, prediction.x_0, prediction.eps, s)

    def move(self, prediction: ReversePrediction, x_0: Tensor, eps: Tensor, s: Tensor) -> Gaussian:
        """The distribution of x_s for any x_0 and eps (B, *) that make up the prediction's x_t."""
        process = prediction.reverse.process
        variance = self.eta**2 * process.posterior_coefficients(prediction.t, s)[2]
        signal = process.schedule.alpha_bar(s).sqrt()
        # rounding may fall below zero at eta = 1
        direction = (process.schedule.sigma2(s) - variance).clamp(min=0).sqrt()
        return Gaussian(spread(signal, x_0) * x_0 + spread(direction, x_0) * eps, spread(variance, x_0))

    @torch.no_grad()
    def encode(self, reverse: ReverseModel, x_0: Tensor) -> Iterator[tuple[int, Tensor]]:
        """(t, x_t) from images x_0 (B, *) up to their latents x_T: the chain of eta = 0 backwards.

        The ODE of Song et al. 2020, section 4.3, from s to t > s: dx / alpha = eps d(sigma / alpha). The network has no
        step 0 and is evaluated at the chain's first step there. eps follows from the clipped x_0.
        """
        x, schedule, reverse = x_0, reverse.process.schedule, reverse.guided(self.guidance_scale)
        steps = self.subset(schedule)
        before: ReversePrediction | None = None
        for s, t in zip([0, *steps], steps):
            at_s, at_t = (torch.full((len(x),), step, device=x.device) for step in (s, t))
            prediction = reverse.predict(x, at_s.clamp(min=steps[0]), clip=True)
            kept, added = slope(schedule, at_s, at_t)
            euler = spread(kept, x) * x + spread(added, x) * prediction.eps
            change = self.encoding_change(reverse, prediction, euler, at_t, before)
            x = euler if change is None else euler + spread(added, x) * change
            before = prediction if s else None
            yield t, x

    def encoding_change(
        self,
        reverse: ReverseModel,
        prediction: ReversePrediction,
        euler: Tensor,
        t: Tensor,
        before: ReversePrediction | None,
    ) -> Tensor | None:
        """What a solver of higher order adds to eps, (B, *), in a step of `encode`; none in Euler's steps.

        euler: x_t by Euler's step. before: the prediction of the step before, if that began at a step s > 0.
        """
        return None


class DPMSolverPlusPlusSampler(DDIMSampler):
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2): one evaluation a step, of second order.

    x_s = (sigma_s / sigma_t) x_t - alpha_s (exp(-h) - 1) D with h = lambda_s - lambda_t and
    D = x_0 + h / (2 h') (x_0 - x_0'), where x_0' and h' are of the step before. This is DDIM's step with D in place of
    x_0. The first step and the last, to x_0 itself, are of first order.

    order: 2, or 1 for DDIM. eta: 0 is the ODE, 1 the SDE: SDE-DPM-Solver++(2M) (their appendix). Latents are encoded
    with eps in place of x_0.
    """

    def __init__(
        self,
        steps: int | list[int] | None = None,
        eta: float = 0.0,
        spacing: Spacing = "uniform",
        order: int = 2,
        guidance_scale: float = 0.0,
    ):
        super().__init__(steps, eta, spacing, guidance_scale)
        if order not in (1, 2):
            raise ConfigError(f"DPMSolverPlusPlusSampler.order: expected 1 or 2, got {order}")
        self.order = order

    def step(
        self, reverse: ReverseModel, prediction: ReversePrediction, s: Tensor, before: ReversePrediction | None
    ) -> Distribution:
        if before is None or self.order == 1:
            return self.transition(prediction, s)
        x_0, process = prediction.x_0, prediction.reverse.process
        x_0 = x_0 + extrapolation(process.schedule, before.t, prediction.t, s, x_0) * (x_0 - before.x_0)
        return self.move(prediction, x_0, process.eps(x_0, prediction.x_t, prediction.t), s)

    def encoding_change(
        self,
        reverse: ReverseModel,
        prediction: ReversePrediction,
        euler: Tensor,
        t: Tensor,
        before: ReversePrediction | None,
    ) -> Tensor | None:
        if before is None or self.order == 1:
            return None
        weight = extrapolation(reverse.process.schedule, before.t, prediction.t, t, euler)
        return weight * (prediction.eps - before.eps)


class HeunSampler(DDIMSampler):
    """Heun's method in x / alpha and sigma / alpha (Karras et al. 2022, arXiv 2206.00364, algorithm 1): second order.

    An Euler step, which is DDIM's with eta = 0, then the same step with the mean of eps at both of its ends: two
    evaluations a step, one in the last. From a step without any signal, where x / alpha is infinite, Euler's step.
    """

    def __init__(self, steps: int | list[int] | None = None, spacing: Spacing = "uniform", guidance_scale: float = 0.0):
        super().__init__(steps, 0.0, spacing, guidance_scale)

    def evaluations(self, num_steps: int) -> int:
        return 2 * num_steps - 1

    def step(
        self, reverse: ReverseModel, prediction: ReversePrediction, s: Tensor, before: ReversePrediction | None
    ) -> Distribution:
        p = self.transition(prediction, s)
        _, added = slope(prediction.reverse.process.schedule, prediction.t, s)
        return p.with_mean(p.mean + spread(added, p.mean) * self.correction(reverse, prediction, p.mean, s))

    def correction(self, reverse: ReverseModel, prediction: ReversePrediction, euler: Tensor, to: Tensor) -> Tensor:
        """The mean of eps at both ends minus that at the first, (B, *)."""
        return (reverse.predict(euler, to, clip=True).eps - prediction.eps) / 2

    def encoding_change(
        self,
        reverse: ReverseModel,
        prediction: ReversePrediction,
        euler: Tensor,
        t: Tensor,
        before: ReversePrediction | None,
    ) -> Tensor | None:
        return self.correction(reverse, prediction, euler, t)


def slope(schedule: NoiseSchedule, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of x and eps in Euler's step of the ODE between two steps: (B,) float64 each.

    x / alpha grows by eps times the growth of sigma / alpha. The weight of eps is zero where it would be infinite.
    """
    kept = schedule.alpha(end, start).sqrt()
    added = schedule.sigma2(end).sqrt() - kept * schedule.sigma2(start).sqrt()
    return kept, torch.where(added.isfinite(), added, 0)


def extrapolation(schedule: NoiseSchedule, first: Tensor, second: Tensor, to: Tensor, like: Tensor) -> Tensor:
    """The weight h / (2 h') of the last difference, for steps of h' and h in log SNR: (B, 1, ..., 1) as `like`.

    Zero where the log SNR does not change or has no limit, as without any noise.
    """
    middle = schedule.log_snr(second)
    weight = (schedule.log_snr(to) - middle) / (2 * (middle - schedule.log_snr(first)))
    return spread(torch.where(weight.isfinite(), weight, 0), like)
