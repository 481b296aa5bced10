"""The reverse variances against the released code's table and against schedules built anew for fewer steps."""

import math

import numpy as np
import pytest
import torch

from lit_diffusion.diffusion import (
    BetaVariance,
    CleanImage,
    ConstantSchedule,
    CosineSchedule,
    DiscretizedGaussian,
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
    WarmupSchedule,
)
from lit_diffusion.diffusion.schedule import NoiseSchedule
from lit_diffusion.errors import ConfigError

LINEAR = np.linspace(1e-4, 0.02, 1000)


def process_of(betas) -> GaussianProcess:
    return GaussianProcess(NoiseSchedule(torch.as_tensor(np.asarray(betas, dtype=np.float64))))


def variances(variance, process, t, s, raw=None):
    """(N,) float64 for steps t, s (N,), with the same raw output for each."""
    x = torch.zeros(len(t), 1).double()
    value = variance(process, x, t, s, None if raw is None else torch.full_like(x, raw))
    return value.expand(len(t), 1).flatten().detach().numpy()


def adjacent(process):
    return process.schedule.steps(), process.schedule.steps() - 1


def test_beta_variance_is_the_released_table():
    """[beta~_2, beta_2, beta_3, .., beta_T] at T = 1000, "fixed large"."""
    alpha_bar = np.cumprod(1 - LINEAR.astype(np.longdouble))
    table = LINEAR.copy()
    table[0] = (1 - alpha_bar[0]) / (1 - alpha_bar[1]) * LINEAR[1]
    process = GaussianProcess(LinearSchedule(1000))
    np.testing.assert_allclose(variances(BetaVariance(), process, *adjacent(process)), table, rtol=1e-10)


@pytest.mark.parametrize("schedule", [LinearSchedule(1000), CosineSchedule(50), JSDSchedule(20)], ids=type)
def test_posterior_variance_is_the_released_table(schedule, table):
    """[beta~_2, beta~_2, beta~_3, .., beta~_T], "fixed small"."""
    process, t = GaussianProcess(schedule), schedule.steps()
    reference = table(schedule.beta(t, t - 1).numpy())
    small = variances(PosteriorVariance(), process, *adjacent(process))
    np.testing.assert_allclose(small, reference.variances(), rtol=1e-9)


def test_learned_range_ends_at_posterior_variance_and_beta(table):
    """v = -1 is log beta~ (beta~_2 at t = 1), v = 1 is log beta, v = 0 their geometric mean."""
    process, reference = process_of(LINEAR), table(LINEAR)
    small, large = reference.variances(), LINEAR
    for v, expected in [(-1.0, small), (1.0, large), (0.0, np.sqrt(small * large)), (0.5, small**0.25 * large**0.75)]:
        value = variances(LearnedRange(), process, *adjacent(process), raw=v)
        np.testing.assert_allclose(value, expected, rtol=1e-9)


def test_learned_diagonal_is_the_exponential_of_the_raw_output():
    """The second output is the log-variance itself, at every step and pixel by pixel."""
    process, x = process_of(LINEAR), torch.zeros(3, 1, 2, 2)
    raw = torch.linspace(-12, 2, 12).view(3, 1, 2, 2)
    t = torch.tensor([1, 500, 1000])
    torch.testing.assert_close(LearnedDiagonal()(process, x, t, t - 1, raw), raw.exp())


def test_learned_diagonal_over_a_longer_step_grows_as_beta_does():
    """exp(raw) beta_{t|s} / beta_{t|t-1}, with beta_{t|s} = 1 - alpha_bar_t / alpha_bar_s."""
    alpha_bar = np.cumprod(1 - LINEAR)
    process, t, s = process_of(LINEAR), torch.tensor([700]), torch.tensor([600])
    growth = (1 - alpha_bar[699] / alpha_bar[599]) / LINEAR[699]
    assert variances(LearnedDiagonal(), process, t, s, -3.0) == pytest.approx(math.exp(-3) * growth)


@pytest.mark.parametrize("stride", [1, 2, 5, 10, 20])
@pytest.mark.parametrize(
    ("variance", "raw"),
    [(BetaVariance(), None), (PosteriorVariance(), None), (LearnedRange(), 0.3)],
    ids=["beta", "posterior", "learned range"],
)
def test_every_strided_chain_has_the_variances_of_a_schedule_rebuilt_for_it(variance, raw, stride):
    """IDDPM's respacing: new betas 1 - alpha_bar_t / alpha_bar_s on the subset t = k, 2k, .., T, and T / k steps."""
    betas = np.linspace(0.01, 0.3, 20)
    alpha_bar = np.concatenate([[1], np.cumprod(1 - betas)])[::stride]
    long, short = process_of(betas), process_of(1 - alpha_bar[1:] / alpha_bar[:-1])
    t, s = adjacent(short)
    np.testing.assert_allclose(
        variances(variance, long, stride * t, stride * s, raw), variances(variance, short, t, s, raw), rtol=1e-9
    )


@pytest.mark.parametrize("variance", [BetaVariance(), PosteriorVariance(), LearnedRange()], ids=type)
@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_a_single_step_has_variance_beta(variance, beta):
    """T = 1 has no beta~_2; every rule falls back to beta_1."""
    process, one = process_of([beta]), torch.tensor([1])
    assert variances(variance, process, one, one - 1, 0.3) == pytest.approx(beta)


@pytest.mark.parametrize(
    "variance", [BetaVariance(), PosteriorVariance(), LearnedRange(), LearnedDiagonal()], ids=lambda v: type(v).__name__
)
def test_a_step_that_adds_no_noise_removes_none(variance):
    """Where beta_{t|s} = 0 every variance is zero, so that the reverse step is the point mass that the posterior is."""
    process = process_of([0.2, 0.0, 0.0, 0.1])
    t, s = torch.tensor([2, 3, 3]), torch.tensor([1, 2, 1])
    assert (variances(variance, process, t, s, 0.3) == 0).all()
    assert (variances(variance, process_of([0.0, 0.0]), t[:2] - 1, s[:2] - 1, 0.3) == 0).all()


def test_variance_is_optimal_at_its_end_of_the_range(table):
    """For x_0 ~ N(0, I) the true reverse variance is beta_t; for x_0 a point it is beta~_t (DDPM section 3.2).

    True: Var[x_s|x_t] = beta~ + c_0^2 Var[x_0|x_t], with Var[x_0|x_t] = 1 - alpha_bar_t for unit Gaussian data.
    """
    betas = [0.1, 0.35, 0.02, 0.6, 0.25]
    process, reference = process_of(betas), table(betas)
    for t, s in [(2, 1), (5, 1), (4, 2), (5, 4)]:
        c_0, _, posterior = reference.posterior(t, s)
        steps = torch.tensor([t]), torch.tensor([s])
        assert variances(BetaVariance(), process, *steps) == pytest.approx(
            float(posterior + c_0**2 * reference.sigma2[t])
        )
        assert variances(PosteriorVariance(), process, *steps) == pytest.approx(float(posterior))


PAPERS = [
    LinearSchedule,
    QuadraticSchedule,
    ConstantSchedule,
    WarmupSchedule,
    JSDSchedule,
    RescaledLinearSchedule,
    CosineSchedule,
    SigmoidSchedule,
]
DENSITY, LEVELS = GaussianDensity(), DiscretizedGaussian(256)


@pytest.mark.parametrize("rule", [BetaVariance, PosteriorVariance])
@pytest.mark.parametrize(
    ("schedule", "decoder", "released"),
    [
        *[(schedule, LEVELS, True) for schedule in PAPERS],
        *[(schedule, DENSITY, False) for schedule in (LinearSchedule, CosineSchedule, LogSNRSchedule)],
        (LogSNRSchedule, LEVELS, False),
        (lambda n: LearnedSchedule(LinearSchedule(n)), LEVELS, False),
    ],
)
def test_the_last_step_is_the_released_code_s_for_levels_and_the_papers_schedules_else_beta_1(
    schedule, decoder, released, rule, small_network, table
):
    """In the model, over every tenth step, and in what scores say they depend on; either by name anywhere."""
    process = GaussianProcess(schedule(1000))
    betas = process.schedule.beta(*adjacent(process)).detach().numpy()
    reverse = GaussianReverse(process, small_network, CleanImage(), rule(), decoder, clip_x_0=False)
    one = torch.tensor([1])
    named = {"beta_1": betas[0], "posterior_2": table(betas).variances()[0]}
    expected = named["posterior_2" if released else "beta_1"]
    assert variances(reverse.variance, process, one, one - 1) == pytest.approx(expected, rel=1e-9)
    assert reverse.protocol.get("last_variance") == (None if released else "beta_1")
    for last, value in named.items():
        reverse = GaussianReverse(process, small_network, CleanImage(), rule(last), decoder, clip_x_0=False)
        assert variances(reverse.variance, process, one, one - 1) == pytest.approx(value, rel=1e-9)
    if not released:
        ten = torch.tensor([10])
        last = variances(rule("beta_1"), process, ten, ten - 10)
        assert last == pytest.approx(-np.expm1(np.log1p(-betas[:10]).sum()), rel=1e-9)


def test_a_model_leaves_the_variance_that_it_is_given_as_it_is(small_network):
    """The default argument is one object for all models."""
    rule, process = BetaVariance(), GaussianProcess(LinearSchedule(10))
    GaussianReverse(process, small_network, variance=rule, decoder=DENSITY, clip_x_0=False)
    assert rule.last is None


def test_another_name_of_the_last_variance_is_refused():
    """With what may be written."""
    with pytest.raises(ConfigError, match="^last: expected beta_1, posterior_2 or null, got beta_2"):
        BetaVariance("beta_2")
