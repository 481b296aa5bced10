"""The samplers against the papers' algorithms, against each other, and against data whose denoiser is known."""

import math

import numpy as np
import pytest
import torch

from lit_diffusion.diffusion import (
    AncestralSampler,
    BetaVariance,
    CleanImage,
    DDIMSampler,
    Epsilon,
    LearnedDiagonal,
    LinearSchedule,
    PosteriorMean,
    PosteriorVariance,
    Velocity,
)
from lit_diffusion.errors import ConfigError

BETAS = [0.02, 0.1, 0.3, 0.25, 0.6, 0.4, 0.5]
LINEAR = np.linspace(1e-4, 0.02, 1000)
SHAPE = (3, 1, 2, 2)
SUBSETS = pytest.mark.parametrize("steps", [None, 3, 1, [2, 5, 6]], ids=str)


def visited(steps):
    """The chain for T = 7 by hand."""
    return {None: [1, 2, 3, 4, 5, 6, 7], 3: [1, 4, 7], 1: [7], (2, 5, 6): [2, 5, 6]}[
        tuple(steps) if isinstance(steps, list) else steps
    ]


def clean(x, t):
    return 0.7 * x + 0.05 * t


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def last(sampler, reverse, x):
    """x_0 of the chain from x with a fixed seed."""
    *_, step = sampler.chain(reverse, x, generator())
    return step.x_s


@pytest.fixture
def x_T():  # noqa: N802
    return torch.randn(SHAPE, dtype=torch.float64)


@pytest.mark.parametrize(("variance", "sigma2"), [(BetaVariance(), "large"), (PosteriorVariance(), "small")])
def test_ancestral_sampler_is_ddpm_algorithm_2(variance, sigma2, oracle, table, x_T):
    """x_{t-1} = (x_t - beta_t / sqrt(1 - alpha_bar_t) eps) / sqrt(alpha_t) + sigma_t z, without noise at t = 1."""
    reverse, reference, draws, x = oracle(BETAS, Epsilon, clean, variance), table(BETAS), generator(), x_T
    variances = reference.variances() if sigma2 == "small" else np.array(BETAS)
    for t in range(7, 0, -1):
        beta, sigma2 = BETAS[t - 1], float(reference.sigma2[t])
        eps = (x - math.sqrt(float(reference.alpha_bar[t])) * clean(x, t)) / math.sqrt(sigma2)
        x = (x - beta / math.sqrt(sigma2) * eps) / math.sqrt(1 - beta)
        if t > 1:
            x = x + math.sqrt(variances[t - 1]) * torch.randn(SHAPE, generator=draws, dtype=torch.float64)
    torch.testing.assert_close(last(AncestralSampler(), reverse, x_T), x)


@SUBSETS
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim_sampler_is_eq_12(eta, steps, oracle, table, x_T):
    """x_s = sqrt(a_s) x_0 + sqrt(1 - a_s - sigma^2) eps + sigma z with sigma of DDIM eq. 16, on any subset of steps."""
    reverse, reference, draws, x = oracle(BETAS, Epsilon, clean), table(BETAS), generator(), x_T
    chain = visited(steps)[::-1]
    for t, s in zip(chain, [*chain[1:], 0]):
        (a_t, a_s), n_t, n_s = (
            (float(reference.alpha_bar[u]) for u in (t, s)),
            *(float(reference.sigma2[u]) for u in (t, s)),
        )
        sigma = eta * math.sqrt(n_s / n_t) * math.sqrt(1 - a_t / a_s)
        x_0 = clean(x, t)
        eps = (x - math.sqrt(a_t) * x_0) / math.sqrt(n_t)
        x = math.sqrt(a_s) * x_0 + math.sqrt(max(n_s - sigma**2, 0)) * eps
        if s:
            x = x + sigma * torch.randn(SHAPE, generator=draws, dtype=torch.float64)
    torch.testing.assert_close(last(DDIMSampler(steps, eta), reverse, x_T), x)


@SUBSETS
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("kind", [PosteriorMean, CleanImage, Epsilon, Velocity], ids=lambda kind: kind.__name__)
def test_ddim_with_eta_1_is_ancestral_with_the_posterior_variance(kind, clip, steps, oracle, x_T):
    """Same generator, same images, for all steps and subsets, clipped or not (ancestral never clips the mean mu~)."""
    reverse = oracle(BETAS, kind, clean, PosteriorVariance(), clip_x_0=clip and kind is not PosteriorMean)
    ddim, ancestral = (last(s, reverse, x_T) for s in (DDIMSampler(steps, eta=1.0), AncestralSampler(steps)))
    torch.testing.assert_close(ddim, ancestral)


@SUBSETS
def test_ddim_with_eta_0_draws_nothing(steps, oracle, x_T):
    """The same images from any seed: x_T alone determines them."""
    reverse = oracle(BETAS, Velocity, clean)
    chains = [list(DDIMSampler(steps).chain(reverse, x_T, generator(seed))) for seed in (1, 2)]
    assert all(torch.equal(a.x_s, b.x_s) for a, b in zip(*chains))


def moments(sampler, reverse, dimension, mean, covariance):
    """Mean and covariance of (t, x_t) down the chain, exactly: with an affine denoiser each step is affine Gaussian."""
    steps = list(sampler.subset(reverse.process.schedule))[::-1]
    probes = torch.cat([torch.zeros(1, dimension), torch.eye(dimension)]).double().view(-1, 1, 1, dimension)
    at = []
    for t, s in zip(steps, [*steps[1:], 0]):
        t, s = (torch.full((dimension + 1,), step) for step in (t, s))
        with torch.no_grad():
            p = sampler.transition(reverse.predict(probes, t, clip=True), s)
        offset, *columns = p.mean.flatten(1)
        matrix = torch.stack([column - offset for column in columns], dim=1)
        spread = p.variance.expand_as(p.mean)[0].flatten().diag() if s[0] else 0
        mean, covariance = matrix @ mean + offset, matrix @ covariance @ matrix.T + spread
        at.append((int(s[0]), mean, covariance))
    return at


MEAN = torch.tensor([0.3, -0.5, 0.1]).double()
ROOT = torch.tensor([[0.6, 0.0, 0.0], [0.3, 0.3, 0.0], [-0.2, 0.5, 0.8]]).double()
COVARIANCE = ROOT @ ROOT.T
STANDARD = torch.zeros(3).double(), torch.eye(3).double()


def exact(reference, mean, covariance):
    """clean(x_t, t) = E[x_0 | x_t] for data N(mean, covariance) in three dimensions."""

    def denoise(x, t):
        kept, sigma2 = float(reference.alpha_bar[t]), float(reference.sigma2[t])
        gain = math.sqrt(kept) * covariance @ torch.linalg.inv(kept * covariance + sigma2 * torch.eye(3).double())
        return (mean + (x.flatten(1) - math.sqrt(kept) * mean) @ gain.T).view_as(x)

    return denoise


@pytest.mark.parametrize(
    ("make", "variance"),
    [(AncestralSampler, BetaVariance()), (AncestralSampler, PosteriorVariance()), (DDIMSampler, PosteriorVariance())],
    ids=["ancestral, beta", "ancestral, posterior", "ddim"],
)
def test_exact_denoiser_of_gaussian_data_recovers_mean_and_covariance(make, variance, oracle, table):
    """Errors of the exact output moments vanish with the number of steps, like 1 / steps, to below 1% at T = 1000."""
    reverse = oracle(LINEAR, Epsilon, exact(table(LINEAR), MEAN, COVARIANCE), variance)
    errors = []
    for steps in (100, 200, 400, None):
        _, mean, covariance = moments(make(steps), reverse, 3, *STANDARD)[-1]
        errors.append(((covariance - COVARIANCE).norm() / COVARIANCE.norm()).item())
    assert (mean - MEAN).norm() < 0.01 * MEAN.norm()
    assert errors[-1] < 0.01
    assert all(b < 0.7 * a for a, b in zip(errors, errors[1:]))


@pytest.mark.parametrize("steps", [None, 7, 50, [10, 400, 1000]], ids=str)
def test_ancestral_sampler_with_beta_variance_is_exact_for_unit_gaussian_data(steps, oracle, table):
    """x_0 ~ N(0, I) in any number of steps: x_s ~ N(0, I) throughout, and x_0 = E[x_0|x_t] of the last step."""
    reference, (mean, covariance) = table(LINEAR), STANDARD
    reverse, sampler = oracle(LINEAR, Epsilon, exact(reference, *STANDARD), BetaVariance()), AncestralSampler(steps)
    *chain, (_, _, end) = moments(sampler, reverse, 3, *STANDARD)
    for _, m, c in chain:
        torch.testing.assert_close((m, c), (mean, covariance), rtol=0, atol=1e-9)
    kept = float(reference.alpha_bar[sampler.subset(reverse.process.schedule)[0]])
    torch.testing.assert_close(end, kept * covariance)


@SUBSETS
@pytest.mark.parametrize("make", [AncestralSampler, DDIMSampler, lambda steps: DDIMSampler(steps, eta=0.5)])
def test_every_sampler_recovers_data_that_is_one_point(make, steps, oracle, x_T):
    """E[x_0|x_t] is the point; the last step returns it exactly, whatever the noise before."""
    point = torch.tensor([[0.1, -0.9], [0.5, 1.0]]).double()
    reverse = oracle(BETAS, CleanImage, lambda x, t: point.expand_as(x), PosteriorVariance())
    torch.testing.assert_close(last(make(steps), reverse, x_T), point.expand(SHAPE))


@SUBSETS
def test_posterior_variance_keeps_the_marginals_of_a_point(steps, oracle, table, x_T):
    """From x_T ~ q(x_T|x_0) every x_s of both samplers is distributed as q(x_s|x_0), at any eta and on any subset."""
    reference, point = table(BETAS), torch.tensor([0.2, -0.7, 0.9]).double()
    reverse = oracle(BETAS, Epsilon, lambda x, t: point.expand_as(x), PosteriorVariance())
    for sampler in (AncestralSampler(steps), DDIMSampler(steps), DDIMSampler(steps, 0.3), DDIMSampler(steps, 1.0)):
        first = sampler.subset(reverse.process.schedule)[-1]
        start = (
            math.sqrt(float(reference.alpha_bar[first])) * point,
            float(reference.sigma2[first]) * torch.eye(3).double(),
        )
        for s, mean, covariance in moments(sampler, reverse, 3, *start):
            torch.testing.assert_close(mean, math.sqrt(float(reference.alpha_bar[s])) * point)
            torch.testing.assert_close(covariance, float(reference.sigma2[s]) * torch.eye(3).double())


def test_ancestral_sampler_with_the_exact_variance_keeps_every_marginal(oracle, gaussian_denoiser, table):
    """Var[x_s|x_t] learned exactly: from x_T ~ q(x_T), x_s ~ q(x_s) at every s >= 1 in only seven steps."""
    reference, mean, variance = table(BETAS), torch.tensor([0.4]).double(), torch.tensor([0.2]).double()

    def log_variance(x, t):
        c_0, _, small = (float(v) for v in reference.posterior(t, t - 1))
        kept, sigma2 = float(reference.alpha_bar[t]), float(reference.sigma2[t])
        return torch.full_like(x, math.log(small + c_0**2 * 0.2 * sigma2 / (kept * 0.2 + sigma2)))

    denoiser = gaussian_denoiser(BETAS, mean, variance)
    reverse = oracle(BETAS, Velocity, denoiser, LearnedDiagonal(), log_variance)
    marginal = lambda s: (  # noqa: E731
        math.sqrt(float(reference.alpha_bar[s])) * mean,
        (float(reference.alpha_bar[s]) * variance + float(reference.sigma2[s])).view(1, 1),
    )
    chain = moments(AncestralSampler(), reverse, 1, *marginal(7))
    for s, m, c in chain[:-1]:
        torch.testing.assert_close((m, c), marginal(s))
    torch.testing.assert_close(chain[-1][1], mean)


@pytest.mark.parametrize("sampler", [AncestralSampler(), DDIMSampler(eta=1.0)], ids=type)
def test_last_step_adds_no_noise(sampler, oracle):
    """One step from T = 1: images are the mean, a function of x_T alone, though the step has a variance."""
    reverse, x = oracle([0.5], Epsilon, clean), torch.randn(SHAPE, dtype=torch.float64)
    a, b = (list(sampler.chain(reverse, x, generator(seed)))[-1].x_s for seed in (1, 2))
    assert torch.equal(a, b)
    torch.testing.assert_close(a, clean(x, 1))


@SUBSETS
@pytest.mark.parametrize("make", [AncestralSampler, DDIMSampler])
def test_chain_yields_every_step_and_ends_in_what_a_call_returns(make, steps, oracle):
    """From t_K down to 0, with the clipped estimate of x_0 made at each t; nfe is the number of steps."""
    sampler, reverse = make(steps), oracle(BETAS, Epsilon, lambda x, t: 3 * x, clip_x_0=True)
    images = sampler(reverse, SHAPE, generator())
    expected = visited(steps)
    assert len(reverse.network.calls) == len(expected)
    draws = generator()
    x = torch.randn(SHAPE, generator=draws)
    chain = list(sampler.chain(reverse, x, draws))
    assert [(step.t, step.s) for step in chain] == list(zip(expected, [0, *expected]))[::-1]
    for x_t, step in zip([x, *(step.x_s for step in chain)], chain):
        torch.testing.assert_close(step.x_0, (3 * x_t).clamp(-1, 1), rtol=1e-5, atol=1e-5)
    assert torch.equal(chain[-1].x_s, images)


@pytest.mark.parametrize("sampler", [AncestralSampler(), DDIMSampler(3), DDIMSampler(eta=0.5)], ids=type)
def test_samples_are_a_function_of_the_generator_alone(sampler, oracle, small_network):
    """Same seed, same images; another seed, others; torch's global generator stays; no gradient is kept."""
    reverse = oracle(BETAS, Epsilon, clean)
    reverse.network, before = small_network(1, 1), torch.get_rng_state()
    a, b, c = (sampler(reverse, SHAPE, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c) and not a.requires_grad
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(sampler(reverse, SHAPE), sampler(reverse, SHAPE))  # without one, the global generator


@pytest.mark.parametrize("num_steps", [1, 2, 3, 10, 37, 1000])
def test_steps_are_evenly_spread_with_both_ends(num_steps):
    """As many as asked for, ascending, each gap within one of (T - 1) / (K - 1); one step is T alone."""
    for count in range(1, num_steps + 1):
        steps = list(AncestralSampler(count).subset(LinearSchedule(num_steps)))
        assert len(steps) == count and steps == sorted(set(steps)) and steps[-1] == num_steps
        if count > 1:
            stride = (num_steps - 1) / (count - 1)
            assert steps[0] == 1
            assert all(abs(1 + i * stride - step) <= 0.5 + 1e-9 for i, step in enumerate(steps))
    assert list(AncestralSampler().subset(LinearSchedule(num_steps))) == list(range(1, num_steps + 1))


@pytest.mark.parametrize("count", [2, 10, 25, 50, 100, 200, 250, 400, 500, 1000])
def test_usual_subsets_are_those_of_iddpm(count):
    """Nichol & Dhariwal's space_timesteps, which adds up the stride from 0 and rounds; steps here count from 1."""
    expected, position = [], 0.0
    for _ in range(count):
        expected.append(1 + round(position))
        position += 999 / (count - 1)
    assert list(AncestralSampler(count).subset(LinearSchedule())) == expected


@pytest.mark.parametrize("make", [AncestralSampler, DDIMSampler])
@pytest.mark.parametrize(("steps", "words"), [(8, "8"), ([1, 9], "step 9")])
def test_more_steps_than_the_model_has_are_refused(make, steps, words, oracle):
    """By `check`, as the module calls it, and by sampling itself."""
    sampler = make(steps)
    for attempt in (lambda: sampler.check(7), lambda: sampler(oracle(BETAS, Epsilon, clean), SHAPE)):
        with pytest.raises(
            ConfigError, match=f"^{make.__name__}.steps: expected at most the model's T = 7, got {words}$"
        ) as error:
            attempt()
        assert "\n" not in str(error.value)
    make(7).check(7), make([1, 7]).check(7), make().check(7)


@pytest.mark.parametrize("steps", [0, -3, [], [0, 1], [3, 2], [2, 2]], ids=str)
@pytest.mark.parametrize("make", [AncestralSampler, DDIMSampler])
def test_steps_that_are_not_a_chain_are_refused(make, steps):
    """None, step 0, and steps that do not ascend."""
    with pytest.raises(ConfigError, match=f"^{make.__name__}.steps: expected .*, got "):
        make(steps)


@pytest.mark.parametrize("eta", [-0.1, 1.5, float("nan")])
def test_an_eta_outside_0_to_1_is_refused(eta):
    """Below 0 the variance does not exist; above 1 the formula takes the root of a negative number."""
    with pytest.raises(ConfigError, match=f"^DDIMSampler.eta: expected a number in .*, got {eta:g}; use 0"):
        DDIMSampler(eta=eta)


def test_rounding_below_zero_at_eta_1_is_not_nan(oracle, x_T):
    """beta_1 = 3e-18: beta~ equals 1 - alpha_bar_s but for rounding, and the root under eps is 0, for any beta_2."""
    for beta in torch.linspace(0.05, 0.95, 200).tolist():
        reverse = oracle([3e-18, beta], CleanImage, clean)
        assert last(DDIMSampler(eta=1.0), reverse, x_T).isfinite().all()


@pytest.mark.parametrize("kind", [Epsilon, Velocity], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("sampler", [AncestralSampler(), DDIMSampler(), DDIMSampler(eta=1.0)], ids=type)
def test_no_noise_anywhere_leaves_the_prior_s_draw_unchanged(sampler, kind, small_network, oracle):
    """All beta = 0: x_0 = x_T, whatever the network says."""
    reverse = oracle([0.0, 0.0], kind, clean)
    reverse.network = small_network(1, 1)
    x = torch.randn(SHAPE)
    assert torch.equal(last(sampler, reverse, x), x)
