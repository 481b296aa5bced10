"""The forward process: its distributions agree with each other, with the paper and with extended precision."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from lit_diffusion.diffusion import CosineSchedule, GaussianProcess, JSDSchedule, LinearSchedule
from lit_diffusion.diffusion.schedule import NoiseSchedule

BETAS = [0.1, 0.35, 0.02, 0.6, 0.25]
PAIRS = [(t, s) for t in range(1, 6) for s in range(t)]


def process_of(betas) -> GaussianProcess:
    return GaussianProcess(NoiseSchedule(torch.tensor(betas, dtype=torch.float64)))


@pytest.fixture
def process():
    return process_of(BETAS)


@pytest.fixture
def images():
    """x_0 in [-1, 1] and x_t unbounded, (7, 2, 3, 3) float64."""
    return torch.rand(7, 2, 3, 3).double() * 2 - 1, 1.5 * torch.randn(7, 2, 3, 3).double()


def log_density(p, x):
    return Normal(p.mean, p.variance.sqrt().expand_as(p.mean)).log_prob(x)


@pytest.mark.parametrize(("t", "s"), [(t, s) for t, s in PAIRS if s])
def test_ddpm_eq7_posterior_follows_from_bayes(process, images, to_steps, t, s):
    """log q(x_s|x_t,x_0) = log q(x_t|x_s) + log q(x_s|x_0) - log q(x_t|x_0), for every s < t."""
    x_0, x_t = images
    x_s, (t, s) = torch.randn_like(x_0), to_steps(7, t, s)
    bayes = (
        log_density(process.step(x_s, t, s), x_t)
        + log_density(process.marginal(x_0, s), x_s)
        - log_density(process.marginal(x_0, t), x_t)
    )
    torch.testing.assert_close(log_density(process.posterior(x_0, x_t, t, s), x_s), bayes, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("t", range(1, 6))
def test_ddpm_eqs_2_and_7_hold_as_printed_for_adjacent_steps(process, images, to_steps, t):
    """One step, posterior mean and posterior variance beta~_t, from alpha_t, beta_t and cumulative products."""
    x_0, x_t = images
    beta, alpha = BETAS[t - 1], 1 - BETAS[t - 1]
    alpha_bar, before = np.prod(1 - np.array(BETAS[:t])), np.prod(1 - np.array(BETAS[: t - 1]))
    step = process.step(x_0, *to_steps(7, t, t - 1))
    torch.testing.assert_close(step.mean, math.sqrt(alpha) * x_0)
    torch.testing.assert_close(step.variance.flatten(), torch.full((7,), beta).double())
    posterior = process.posterior(x_0, x_t, *to_steps(7, t, t - 1))
    mean = math.sqrt(before) * beta / (1 - alpha_bar) * x_0 + math.sqrt(alpha) * (1 - before) / (1 - alpha_bar) * x_t
    torch.testing.assert_close(posterior.mean, mean)
    torch.testing.assert_close(
        posterior.variance.flatten(), torch.full((7,), (1 - before) / (1 - alpha_bar) * beta).double()
    )


@pytest.mark.parametrize("t", range(2, 6))
def test_ddpm_eq11_posterior_mean_follows_from_eps(process, images, to_steps, t):
    """mu~ = (x_t - beta_t / sqrt(1 - alpha_bar_t) eps) / sqrt(alpha_t), where x_t is made of x_0 and eps."""
    x_0, eps = images
    beta, alpha_bar = BETAS[t - 1], np.prod(1 - np.array(BETAS[:t]))
    x_t = process.marginal(x_0, *to_steps(7, t)).rsample(eps)
    mean = (x_t - beta / math.sqrt(1 - alpha_bar) * eps) / math.sqrt(1 - beta)
    torch.testing.assert_close(process.posterior(x_0, x_t, *to_steps(7, t, t - 1)).mean, mean)
    torch.testing.assert_close(process.eps(x_0, x_t, *to_steps(7, t)), eps)


@pytest.mark.parametrize(("t", "s"), PAIRS)
def test_steps_composed_after_the_marginal_give_the_marginal(process, images, to_steps, t, s):
    """q(x_t|x_0) has mean sqrt(alpha_{t|s}) E[x_s|x_0] and variance alpha_{t|s} Var[x_s|x_0] + beta_{t|s}."""
    x_0, _ = images
    t, s = to_steps(7, t, s)
    earlier, later = process.marginal(x_0, s), process.marginal(x_0, t)
    step = process.step(earlier.mean, t, s)
    gain = process.step(torch.ones_like(x_0), t, s).mean
    torch.testing.assert_close(later.mean, step.mean)
    torch.testing.assert_close((later.variance + 0 * x_0), gain**2 * earlier.variance + step.variance)


def test_a_simulated_chain_has_the_moments_of_the_marginal(to_steps):
    """40,000 chains of five steps: mean and variance within five standard errors."""
    process, n = process_of(BETAS), 40_000
    generator, x = torch.Generator().manual_seed(1), torch.full((n, 1), 0.8)
    for t in range(1, 6):
        x = process.step(x, *to_steps(n, t, t - 1)).sample(generator)
    marginal = process.marginal(torch.full((1, 1), 0.8), torch.tensor([5]))
    assert abs(x.mean() - marginal.mean) < 5 * (marginal.variance / n).sqrt()
    assert abs(x.var() - marginal.variance) < 5 * marginal.variance * math.sqrt(2 / n)


def test_each_image_of_a_batch_has_its_own_steps(process, images):
    """Steps (3, 1, 5) of a batch give what each image gives alone."""
    x_0, x_t = (x[:3] for x in images)
    t, s = torch.tensor([3, 1, 5]), torch.tensor([1, 0, 2])
    batch = process.posterior(x_0, x_t, t, s)
    for i in range(3):
        one = process.posterior(x_0[i : i + 1], x_t[i : i + 1], t[i : i + 1], s[i : i + 1])
        torch.testing.assert_close(batch.mean[i : i + 1], one.mean)
        torch.testing.assert_close(batch.variance[i : i + 1], one.variance)


def test_no_noise_anywhere_leaves_the_data_unchanged(images, to_steps):
    """All beta = 0: marginal, step and posterior are point masses at the image they started from."""
    process, (x, _) = process_of([0.0] * 3), images
    for t, s in [(1, 0), (3, 0), (3, 1)]:
        t, s = to_steps(7, t, s)
        for p in (process.marginal(x, t), process.step(x, t, s), process.posterior(x, x, t, s)):
            assert torch.equal(p.mean, x) and (p.variance == 0).all()


def test_beta_of_one_makes_pure_noise_in_one_step(images, to_steps):
    """q(x_t|x_s) = N(0, I) whatever x_s; the posterior then knows of x_0 alone: it is the marginal of x_s."""
    process, (x_0, x_t) = process_of([0.3, 1.0, 0.2]), images
    for p in (process.step(x_0, *to_steps(7, 2, 1)), process.marginal(x_0, *to_steps(7, 3))):
        assert (p.mean == 0).all() and (p.variance == 1).all()
    posterior, marginal = process.posterior(x_0, x_t, *to_steps(7, 2, 1)), process.marginal(x_0, *to_steps(7, 1))
    torch.testing.assert_close(posterior.mean, marginal.mean)
    torch.testing.assert_close(posterior.variance, marginal.variance)
    two = process_of([1.0, 1.0])
    assert two.schedule.beta(*to_steps(1, 2, 1)) == 1 and two.schedule.alpha(*to_steps(1, 2, 1)) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("betas", itertools.product([0.0, 0.3, 1.0], repeat=3), ids=str)
def test_betas_of_zero_and_one_in_any_order_agree_with_the_formulas(betas, dtype, table, to_steps):
    """Every marginal, step, posterior and eps is finite and right, whichever steps add no noise or only noise."""
    process, reference = process_of(betas), table(betas)
    x_0, x_t = torch.tensor([[0.7]], dtype=dtype), torch.tensor([[-1.3]], dtype=dtype)
    close = {"rel": 1e-6 if dtype is torch.float32 else 1e-12, "abs": 0}
    for t in range(1, 4):
        marginal = process.marginal(x_0, *to_steps(1, t))
        assert marginal.mean.item() == pytest.approx(0.7 * float(np.sqrt(reference.alpha_bar[t])), **close)
        assert marginal.variance.item() == pytest.approx(float(reference.sigma2[t]), **close)
        assert process.eps(x_0, x_t, *to_steps(1, t)).isfinite().all()
        for s in range(t):
            alpha, beta = (float(v) for v in reference.between(t, s))
            step, posterior = (
                process.step(x_0, *to_steps(1, t, s)),
                process.posterior(x_0, x_t, *to_steps(1, t, s)),
            )
            assert step.mean.item() == pytest.approx(0.7 * math.sqrt(alpha), **close)
            assert step.variance.item() == pytest.approx(beta, **close)
            c_0, c_t, variance = (float(v) for v in reference.posterior(t, s))
            assert posterior.mean.item() == pytest.approx(0.7 * c_0 - 1.3 * c_t, rel=close["rel"], abs=1e-7)
            assert posterior.variance.item() == pytest.approx(variance, **close)


def test_eps_is_zero_where_nothing_depends_on_it(images, to_steps):
    """Before the first noise x_t = x_0; eps there is 0 and not 0 / 0, even for an x_t that no x_0 could give."""
    x_0, x_t = images
    assert (process_of([0.0, 0.3]).eps(x_0, x_t, *to_steps(7, 1)) == 0).all()


@pytest.mark.parametrize("schedule", [LinearSchedule(1000), CosineSchedule(1000), JSDSchedule(1000)], ids=type)
def test_every_coefficient_is_right_to_float32_rounding_at_all_1000_steps(schedule, table):
    """Marginal, step and posterior for float32 images within 2 roundings of extended precision, for every t.

    1 - alpha_bar formed in float32 would be wrong by 6e-4 at t = 1 of the linear schedule.
    """
    steps = schedule.steps()
    reference = table(schedule.beta(steps, steps - 1).numpy())
    process, x = GaussianProcess(schedule), torch.ones(1000, 1)
    kept, sigma2 = np.sqrt(reference.alpha_bar[1:]), reference.sigma2[1:]
    alpha, beta = np.sqrt(1 - reference.beta[1:]), reference.beta[1:]
    c_0, c_t, variance = np.array([reference.posterior(t, t - 1) for t in range(1, 1001)]).T
    marginal, step = process.marginal(x, steps), process.step(x, steps, steps - 1)
    of_x_0, of_x_t = (process.posterior(a, b, steps, steps - 1) for a, b in ((x, 0 * x), (0 * x, x)))
    for value, exact in [
        (marginal.mean, kept),
        (marginal.variance, sigma2),
        (step.mean, alpha),
        (step.variance, beta),
        (of_x_0.mean, c_0),
        (of_x_t.mean, c_t),
        (of_x_0.variance, variance),
    ]:
        assert value.dtype == torch.float32
        np.testing.assert_allclose(value.squeeze().numpy(), exact.astype(float), rtol=1.2e-7, atol=1e-30)


def test_prior_is_the_standard_normal_that_a_full_destruction_ends_in(images, to_steps):
    """With alpha_bar_T = 0, q(x_T|x_0) and p(x_T) are the same distribution: their KL is exactly zero."""
    x_0, process = images[0].float(), GaussianProcess(JSDSchedule(4))
    prior = process.prior(tuple(x_0.shape))
    assert prior.sample().shape == x_0.shape
    assert (process.marginal(x_0, *to_steps(7, 4)).kl(prior) == 0).all()
