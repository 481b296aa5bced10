"""How fast the bound of an exact denoiser approaches the true negative log-likelihood as T grows."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lit_diffusion.diffusion import (
    BetaVariance,
    CleanImage,
    ConstantSchedule,
    CosineSchedule,
    GaussianDensity,
    GaussianProcess,
    GaussianReverse,
    JSDSchedule,
    LearnedDiagonal,
    LearnedRange,
    LearnedSchedule,
    LinearSchedule,
    LogSNRSchedule,
    PosteriorVariance,
    QuadraticSchedule,
    RescaledLinearSchedule,
    SigmoidSchedule,
    TabulatedSchedule,
    WarmupSchedule,
)
from lit_diffusion.diffusion.bound import bound_term, prior_kl

DATA = 0.25  # the variance of the data, N(0, DATA)
TRUTH = 0.5 * math.log(2 * math.pi * math.e * DATA)  # E -log p(x_0)
STEPS = [128, 256, 512, 1024]
# Schedules of which T refines one curve from hardly any noise to hardly any signal: betas fall as 1 / T.
SCHEDULES = {
    "linear": lambda n: LinearSchedule(n, 0.1 / n, 20 / n),
    "rescaled linear": RescaledLinearSchedule,
    "quadratic": lambda n: QuadraticSchedule(n, 0.1 / n, 30 / n),
    "constant": lambda n: ConstantSchedule(n, 10 / n),
    "warmup": lambda n: WarmupSchedule(n, 0.1 / n, 10 / n),
    "jsd": JSDSchedule,
    "cosine": CosineSchedule,
    "sigmoid": SigmoidSchedule,
    "learned": lambda n: LearnedSchedule(LinearSchedule(n, 0.1 / n, 20 / n)),
    "tabulated": lambda n: TabulatedSchedule([10 / n] * n),
}
LOG_SNR = {"log SNR": LogSNRSchedule}


class Exact(nn.Module):
    """E[x_0 | x_t], and with `second` another output, which is its value at each index."""

    def __init__(self, schedule, second=None):
        super().__init__()
        self.alpha_bar, self.second = schedule.table.exp()[1:], second

    def forward(self, x, index):
        kept = self.alpha_bar[index][:, None]
        x_0 = DATA * kept.sqrt() / (DATA * kept + 1 - kept) * x
        return x_0 if self.second is None else torch.cat([x_0, self.second[index][:, None]], dim=1)


def gap(schedule, variance, second=None):
    """E[L] - E[-log p(x_0)] in nats: each term is a quadratic of x_0 and eps, of which +-1 give the expectation."""
    reverse = GaussianReverse(
        GaussianProcess(schedule),
        lambda *_: Exact(schedule, second),
        CleanImage(),
        variance,
        GaussianDensity(),
        channels=1,
        clip_x_0=False,
    )
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64).repeat(schedule.num_steps, 1)
    t = schedule.steps().repeat_interleave(2)
    x_0, eps = DATA**0.5 * signs[:, :1], signs[:, 1:]
    with torch.no_grad():
        terms = bound_term(reverse.predict(reverse.process.marginal(x_0, t).rsample(eps), t), x_0)
        return (terms.sum() / 2 + prior_kl(reverse, x_0[:2]).mean()).item() - TRUTH


def orders(schedule, variance):
    """-d log gap / d log T between successive T."""
    return -np.diff(np.log2([gap(schedule(n), variance) for n in STEPS]))


def excess(schedule, variance, limit):
    """gap - limit at T = 2^14 and 2^16."""
    return [gap(schedule(n), variance) - limit for n in (2**14, 2**16)]


EVERY = pytest.mark.parametrize("schedule", [pytest.param(f, id=name) for name, f in {**SCHEDULES, **LOG_SNR}.items()])
SHRINKING = pytest.mark.parametrize("schedule", [pytest.param(f, id=name) for name, f in SCHEDULES.items()])


@EVERY
@pytest.mark.parametrize("variance", [BetaVariance(), BetaVariance("beta_1")], ids=["default", "beta_1"])
def test_the_gap_of_beta_variance_is_of_order_one_in_the_length_of_a_step(schedule, variance):
    """Each of T steps is off by a relative O(1 / T) in its variance, which costs O(1 / T^2)."""
    np.testing.assert_allclose(orders(schedule, variance), 1, atol=0.05)


def test_the_gap_of_posterior_variance_is_of_order_one_where_neighbouring_noise_levels_are_close():
    """log SNR in equal steps: beta~ / beta = sigma_s^2 / sigma_t^2 = 1 + O(1 / T) at every step."""
    np.testing.assert_allclose(orders(LogSNRSchedule, PosteriorVariance()), 1, atol=0.05)


@SHRINKING
def test_the_gap_of_posterior_variance_tends_to_half_of_euler_s_gamma_where_noise_starts_at_zero(schedule):
    """sigma_t^2 is then proportional to t at first, beta~_t / beta_t = (t - 1) / t for any T, and sum_{t >= 2}
    (1 / (t - 1) - log(t / (t - 1))) / 2 = gamma / 2 nats a value: a property of the rule, which no T removes.
    """
    first, second = excess(schedule, PosteriorVariance(), np.euler_gamma / 2)
    assert abs(second) < 0.4 * abs(first) and abs(second) < 0.03


@SHRINKING
@pytest.mark.parametrize(
    ("variance", "limit"), [(BetaVariance, 0), (PosteriorVariance, np.euler_gamma / 2)], ids=["beta", "posterior"]
)
def test_beta_2_tilde_at_the_last_step_costs_half_of_1_minus_log_2_more(schedule, variance, limit):
    """It is half of beta_1 there: (2 - 1 - log 2) / 2 nats a value, which no T removes either."""
    first, second = excess(schedule, variance("posterior_2"), limit + (1 - math.log(2)) / 2)
    assert abs(second) < 0.4 * abs(first) and abs(second) < 0.03


@pytest.mark.parametrize("variance", [BetaVariance("posterior_2"), PosteriorVariance("posterior_2")], ids=type)
def test_beta_2_tilde_at_the_last_step_diverges_where_beta_2_is_far_below_beta_1(variance):
    """log SNR in equal steps: beta_1 is fixed and beta_2 falls as 1 / T, so that L_0 grows as T."""
    np.testing.assert_allclose(orders(LogSNRSchedule, variance), -1, atol=0.3)


@EVERY
@pytest.mark.parametrize("num_steps", [128, 1024])
def test_the_exact_variance_closes_the_gap_at_any_number_of_steps(schedule, num_steps):
    """LearnedDiagonal with the logarithm of Var[x_s | x_t] = beta v_s / v_t, where x_t ~ N(0, v_t)."""
    schedule = schedule(num_steps)
    t = schedule.steps()
    v_t, v_s = (DATA * schedule.alpha_bar(u) + schedule.sigma2(u) for u in (t, t - 1))
    second = (schedule.beta(t, t - 1) * v_s / v_t).log().detach()
    assert abs(gap(schedule, LearnedDiagonal(), second)) < 1e-6


@EVERY
@pytest.mark.parametrize(("second", "fixed"), [(1.0, BetaVariance("beta_1")), (-1.0, PosteriorVariance("posterior_2"))])
def test_the_ends_of_the_learned_range_are_the_fixed_variances(schedule, second, fixed):
    """The gap at v = 1 is that of beta, at v = -1 that of beta~ with beta~_2 at t = 1."""
    schedule = schedule(64)
    learned = gap(schedule, LearnedRange(), torch.full((64,), second, dtype=torch.float64))
    assert learned == pytest.approx(gap(schedule, fixed), rel=1e-6)
