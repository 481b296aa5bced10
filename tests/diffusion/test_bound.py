"""The bound against an independent implementation, closed forms for Gaussian data, and the entropy of discrete data."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from lit_diffusion.diffusion import (
    BetaVariance,
    CleanImage,
    Epsilon,
    GaussianProcess,
    GaussianReverse,
    LearnedDiagonal,
    LearnedRange,
    LinearSchedule,
    PosteriorMean,
    PosteriorVariance,
    Velocity,
)
from lit_diffusion.diffusion.bound import (
    Bound,
    bits_per_dim,
    bound_term,
    diffusion_kl,
    prior_kl,
    reconstruction_nll,
    variational_bound,
)
from lit_diffusion.diffusion.decoder import Decoder

BETAS = [0.02, 0.1, 0.3, 0.25, 0.6]
KINDS = [PosteriorMean, CleanImage, Epsilon, Velocity]
NUM_LEVELS = 9


class Density(Decoder):
    """Data that is not discrete: minus the log density itself."""

    def nll(self, x_0, p):
        return -p.log_prob(x_0)

    def log_mass(self, low, high, first, last):
        raise NotImplementedError


def clean(x, t):
    """Some prediction, of which a part lies outside [-1, 1]."""
    return 0.8 * x - 0.05 * t


def raw(x, t):
    """Some second output of the network."""
    return torch.cos(3 * x + t) - 1


def by_hand(table, x_0, x_t, t, s, variance, prediction):
    """The term of the step from t to s for each image, from PAPERS sections 1 and 2, in numpy: (B,) nats."""
    c_0, c_t, small = (float(v) for v in table.posterior(t, s))
    large, second = float(table.between(t, s)[1]), raw(torch.as_tensor(x_t), t).numpy()
    if s == 0:  # the posterior variance of the step before, as long as this one, or beta where there is none
        before = min(2 * t, table.num_steps)
        small = float(table.posterior(before, t)[2]) if before > t else large
    sigma2 = {
        BetaVariance: small if s == 0 else large,
        PosteriorVariance: small,
        LearnedRange: np.exp((second + 1) / 2 * math.log(large) + (1 - second) / 2 * math.log(small)),
        LearnedDiagonal: np.exp(second) * large / float(table.beta[t]),
    }[type(variance)] + 0 * x_t
    mean = c_0 * prediction + c_t * x_t
    if s > 0:
        error = (c_0 * x_0 + c_t * x_t - mean) ** 2
        nats = 0.5 * (np.log(sigma2 / small) + (small + error) / sigma2 - 1)
    else:
        half, sigma = 1 / (NUM_LEVELS - 1), np.sqrt(sigma2)
        above = np.where(x_0 > 0.999, 1, norm.cdf((x_0 + half - mean) / sigma))
        below = np.where(x_0 < -0.999, 0, norm.cdf((x_0 - half - mean) / sigma))
        nats = -np.log(above - below)
    return nats.reshape(len(x_0), -1).sum(1)


@pytest.fixture
def images():
    """Images of 9 levels, (4, 1, 2, 3) float64, with black and white pixels among them."""
    x_0 = torch.randint(0, NUM_LEVELS, (4, 1, 2, 3)).double() / 4 - 1
    x_0[0, 0, 0, :2] = torch.tensor([-1.0, 1.0])
    return x_0


VARIANCES = pytest.mark.parametrize(
    "variance", [BetaVariance(), PosteriorVariance(), LearnedRange(), LearnedDiagonal()], ids=lambda v: type(v).__name__
)


@VARIANCES
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_term_is_that_of_the_papers(kind, variance, images, oracle, table, to_steps):
    """KL of two Gaussians for t >= 2, discretized decoder at t = 1, summed over pixels, for every parameterization."""
    reverse = oracle(BETAS, kind, clean, variance, raw if variance.learned else None, NUM_LEVELS)
    reference = table(BETAS)
    for t in range(1, 6):
        x_t = float(np.sqrt(reference.alpha_bar[t])) * images + 0.3 * torch.randn_like(images)
        prediction = reverse.predict(x_t, *to_steps(4, t))
        expected = by_hand(reference, images.numpy(), x_t.numpy(), t, t - 1, variance, clean(x_t, t).numpy())
        np.testing.assert_allclose(bound_term(prediction, images).detach().numpy(), expected, rtol=1e-9)
        named = (
            reconstruction_nll(prediction, images) if t == 1 else diffusion_kl(prediction, images, *to_steps(4, t - 1))
        )
        np.testing.assert_allclose(named.detach().numpy(), expected, rtol=1e-9)


def test_each_image_of_a_batch_gets_the_term_of_its_own_step(images, oracle, table):
    """A batch of t = 1, 3, 1, 5 mixes decoder and KL terms."""
    reverse, reference, t = oracle(BETAS, Epsilon, clean, num_levels=NUM_LEVELS), table(BETAS), [1, 3, 1, 5]
    x_t = images + 0.2 * torch.randn_like(images)
    terms = bound_term(reverse.predict(x_t, torch.tensor(t)), images).detach()
    for i in range(4):
        one, x = images[i : i + 1].numpy(), x_t[i : i + 1]
        expected = by_hand(reference, one, x.numpy(), t[i], t[i] - 1, PosteriorVariance(), clean(x, t[i]).numpy())
        assert terms[i].item() == pytest.approx(expected.item(), rel=1e-9)


def test_prior_term_is_its_closed_form(images, oracle, table):
    """L_T = sum over pixels of (v - 1 - log v + alpha_bar_T x_0^2) / 2, v = 1 - alpha_bar_T."""
    v, kept = (float(a[-1]) for a in (table(BETAS).sigma2, table(BETAS).alpha_bar))
    expected = 0.5 * (v - 1 - math.log(v) + kept * images.numpy() ** 2).reshape(4, -1).sum(1)
    np.testing.assert_allclose(prior_kl(oracle(BETAS, Epsilon, clean), images).numpy(), expected, rtol=1e-9)


def test_linear_schedule_leaves_1_5e_5_bits_per_dim_in_the_prior(small_network):
    """PAPERS section 2 (calc), in float32, for images of mean square 1/2 as natural ones have."""
    reverse = GaussianReverse(GaussianProcess(LinearSchedule(1000)), small_network)
    x_0 = torch.full((2, 3, 8, 8), math.sqrt(0.5))
    kept = math.exp(np.log1p(-np.linspace(1e-4, 0.02, 1000)).sum())
    exact = 0.5 * (-kept - math.log1p(-kept) + kept / 2) / math.log(2)
    value = bits_per_dim(prior_kl(reverse, x_0), x_0)
    np.testing.assert_allclose(value.numpy(), exact, rtol=1e-4)
    np.testing.assert_allclose(value.numpy(), 1.5e-5, rtol=0.05)


@VARIANCES
@pytest.mark.parametrize("steps", [None, [1, 3, 5], [2, 4], [5]], ids=str)
def test_variational_bound_is_the_sum_of_the_terms_with_x_0_clipped(steps, variance, images, oracle, table):
    """All steps or a subset: each term at its own draw of x_t, with the clipped prediction; total, rate, distortion."""
    reverse = oracle(BETAS, CleanImage, clean, variance, raw if variance.learned else None, NUM_LEVELS, clip_x_0=True)
    reference, visited = table(BETAS), steps or [1, 2, 3, 4, 5]
    result = variational_bound(reverse, images, torch.Generator().manual_seed(3), steps)
    generator, terms, errors = torch.Generator().manual_seed(3), [], []
    for t, s in zip(visited, [0, *visited]):
        eps = torch.randn(images.shape, generator=generator, dtype=torch.float64)
        x_t = float(np.sqrt(reference.alpha_bar[t])) * images + float(np.sqrt(reference.sigma2[t])) * eps
        x_0 = clean(x_t, t).clamp(-1, 1).numpy()
        terms.append(by_hand(reference, images.numpy(), x_t.numpy(), t, s, variance, x_0))
        errors.append(((x_0 - images.numpy()) ** 2).reshape(4, -1).mean(1))
    v, kept = (float(a[visited[-1]]) for a in (reference.sigma2, reference.alpha_bar))
    prior = 0.5 * (v - 1 - math.log(v) + kept * images.numpy() ** 2).reshape(4, -1).sum(1)
    np.testing.assert_allclose(result.reconstruction_nll.numpy(), terms[0], rtol=1e-9)
    np.testing.assert_allclose(result.diffusion_kl.numpy().T, np.reshape(terms[1:], (-1, 4)), rtol=1e-9)
    np.testing.assert_allclose(result.prior_kl.numpy(), prior, rtol=1e-9)
    np.testing.assert_allclose(result.total.numpy(), prior + sum(terms), rtol=1e-9)
    np.testing.assert_allclose(result.distortion.numpy().T, 127.5 * np.sqrt(errors), rtol=1e-9)
    rates = [prior + sum(terms[k:], np.zeros(4)) for k in range(1, len(terms) + 1)]
    np.testing.assert_allclose(result.rate.numpy().T, rates, rtol=1e-9)


def test_rate_and_reconstruction_add_up_and_rate_falls_with_every_step_known():
    """Rate at t_1 + L_0 = L; the rate at t_K is L_T; it decreases in k (Ho et al. 2020, section 4.3)."""
    terms = torch.rand(3, 6).double()
    bound = Bound(terms[:, 0], terms[:, 1:5], terms[:, 5], torch.rand(3, 5).double())
    torch.testing.assert_close(bound.total, terms.sum(1))
    torch.testing.assert_close(bound.rate[:, 0] + bound.reconstruction_nll, bound.total)
    torch.testing.assert_close(bound.rate[:, -1], bound.prior_kl)
    torch.testing.assert_close(bound.rate[:, :-1] - bound.rate[:, 1:], bound.diffusion_kl)
    assert (bound.rate.diff(dim=1) < 0).all()


def test_evaluation_draws_from_its_generator_alone_and_keeps_no_graph(images, oracle):
    """Same seed, same bound; torch's global generator does not move."""
    reverse, before = oracle(BETAS, Epsilon, clean), torch.get_rng_state()
    first, second = (variational_bound(reverse, images, torch.Generator().manual_seed(1)).total for _ in range(2))
    assert torch.equal(first, second) and not first.requires_grad
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("stride", [2, 5, 10, 20])
@pytest.mark.parametrize("variance", [BetaVariance(), PosteriorVariance(), LearnedRange()], ids=type)
@pytest.mark.parametrize("kind", [CleanImage, Epsilon, Velocity], ids=lambda kind: kind.__name__)
def test_bound_of_a_strided_chain_is_that_of_the_schedule_rebuilt_for_it(kind, variance, stride, images, oracle):
    """Betas 1 - alpha_bar_t / alpha_bar_s on t = k, 2k, .., T and a network that receives the old t: equal terms."""
    betas = np.linspace(0.001, 0.3, 20)
    alpha_bar = np.concatenate([[1], np.cumprod(1 - betas)])[::stride]
    second = raw if variance.learned else None
    long = oracle(betas, kind, clean, variance, second, NUM_LEVELS)
    short = oracle(
        1 - alpha_bar[1:] / alpha_bar[:-1],
        kind,
        lambda x, t: clean(x, stride * t),
        variance,
        second and (lambda x, t: raw(x, stride * t)),
        NUM_LEVELS,
    )
    subset = list(range(stride, 21, stride))
    a = variational_bound(long, images, torch.Generator().manual_seed(2), subset)
    b = variational_bound(short, images, torch.Generator().manual_seed(2))
    for name in ("prior_kl", "diffusion_kl", "reconstruction_nll", "x_0_error", "total"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=1e-8, atol=1e-12)


def nodes(dimension):
    """Points whose mean of any quadratic function is its expectation under N(0, I): +- sqrt(D) e_i."""
    eye = math.sqrt(dimension) * torch.eye(dimension).double()
    return torch.cat([eye, -eye])


@VARIANCES
def test_exact_denoiser_of_gaussian_data_gives_the_closed_form(variance, oracle, table, to_steps):
    """E[L_{t-1}] = D (r - 1 - log r) / 2 + c_0^2 tr Cov[x_0|x_t] / (2 sigma_t^2), r = beta~_t / sigma_t^2.

    Data N(m, S) with full covariance in three dimensions; expectations over x_0 and noise by exact cubature.
    """
    reference, mean = table(BETAS), torch.tensor([0.3, -0.2, 0.6]).double()
    root = torch.tensor([[0.5, 0.0, 0.0], [0.3, 0.2, 0.0], [-0.4, 0.1, 0.7]]).double()
    covariance, identity = root @ root.T, torch.eye(3).double()

    def gain(t):
        kept, sigma2 = float(reference.alpha_bar[t]), float(reference.sigma2[t])
        return math.sqrt(kept) * covariance @ torch.linalg.inv(kept * covariance + sigma2 * identity)

    def exact(x, t):
        centred = x.flatten(1) - math.sqrt(float(reference.alpha_bar[t])) * mean
        return (mean + centred @ gain(t).T).view_as(x)

    constant = lambda x, t: torch.full_like(x, 0.2)  # noqa: E731
    reverse = oracle(BETAS, Epsilon, exact, variance, constant if variance.learned else None)
    x_0 = (mean + nodes(3) @ root.T).repeat_interleave(6, 0).view(36, 1, 1, 3)
    eps = nodes(3).repeat(6, 1).view(36, 1, 1, 3)
    for t in range(2, 6):
        c_0, _, small = (float(v) for v in reference.posterior(t, t - 1))
        sigma2 = {
            BetaVariance: BETAS[t - 1],
            PosteriorVariance: small,
            LearnedRange: BETAS[t - 1] ** 0.6 * small**0.4,
            LearnedDiagonal: math.exp(0.2),
        }[type(variance)]
        left = covariance - math.sqrt(float(reference.alpha_bar[t])) * gain(t) @ covariance  # Cov[x_0|x_t]
        ratio = small / sigma2
        expected = 1.5 * (ratio - 1 - math.log(ratio)) + c_0**2 * left.trace().item() / (2 * sigma2)
        x_t = float(np.sqrt(reference.alpha_bar[t])) * x_0 + float(np.sqrt(reference.sigma2[t])) * eps
        prediction = reverse.predict(x_t, *to_steps(36, t))
        assert diffusion_kl(prediction, x_0, *to_steps(36, t - 1)).mean().item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("betas", [BETAS, np.linspace(1e-4, 0.02, 1000)], ids=["T = 5", "T = 1000"])
@pytest.mark.parametrize("variance", [0.01, 0.3, 2.0])
def test_bound_is_tight_where_the_reverse_process_is_exact(betas, variance, oracle, gaussian_denoiser, table, to_steps):
    """For Gaussian data with exact mean and variance of q(x_s|x_t): E[L] = entropy + KL(q(x_T), p(x_T)), at any T."""
    reference, mean = table(betas), 0.4

    def log_variance(x, t):
        c_0, _, small = (float(v) for v in reference.posterior(t, t - 1))
        kept, sigma2 = float(reference.alpha_bar[t]), float(reference.sigma2[t])
        return torch.full_like(x, math.log(small + c_0**2 * variance * sigma2 / (kept * variance + sigma2)))

    denoiser = gaussian_denoiser(betas, torch.tensor(mean).double(), torch.tensor(variance).double())
    reverse = oracle(betas, Epsilon, denoiser, LearnedDiagonal(), log_variance, decoder=Density())
    x_0 = mean + math.sqrt(variance) * torch.tensor([-1.0, -1.0, 1.0, 1.0]).double().view(4, 1, 1, 1)
    eps = torch.tensor([-1.0, 1.0, -1.0, 1.0]).double().view(4, 1, 1, 1)
    total = prior_kl(reverse, x_0)
    for t in range(1, reference.num_steps + 1):
        x_t = float(np.sqrt(reference.alpha_bar[t])) * x_0 + float(np.sqrt(reference.sigma2[t])) * eps
        total = total + bound_term(reverse.predict(x_t, *to_steps(4, t)), x_0).detach()
    end = float(reference.alpha_bar[-1]) * variance + float(reference.sigma2[-1])
    mismatch = 0.5 * (end + float(reference.alpha_bar[-1]) * mean**2 - 1 - math.log(end))
    entropy = 0.5 * math.log(2 * math.pi * math.e * variance)
    assert total.mean().item() == pytest.approx(entropy + mismatch, rel=1e-7, abs=1e-7)


def test_bound_of_discrete_data_is_above_its_entropy_and_approaches_it(oracle, table):
    """Four levels of known probabilities and the exact E[x_0|x_t]: L >= H at every T, and L - H vanishes like 1 / T.

    A worse denoiser has a larger bound. Expectations over the noise by 400 quantiles.
    """
    levels, p = torch.tensor([-1.0, -1 / 3, 1 / 3, 1.0]).double(), torch.tensor([0.4, 0.1, 0.2, 0.3]).double()
    entropy = -(p * p.log()).sum().item()
    eps = torch.as_tensor(norm.ppf((np.arange(400) + 0.5) / 400)).repeat(4).view(-1, 1, 1, 1)
    x_0 = levels.repeat_interleave(400).view(-1, 1, 1, 1)
    weight = (p / 400).repeat_interleave(400)

    def bound(num_steps, spoil=0.0, variance=None):
        betas = np.linspace(0.1, 20, num_steps) / num_steps
        reference = table(betas)

        def exact(x, t):
            kept, sigma2 = float(np.sqrt(reference.alpha_bar[t])), float(reference.sigma2[t])
            posterior = torch.softmax(p.log() - (x - kept * levels) ** 2 / (2 * sigma2), dim=-1)
            return (posterior * levels).sum(-1, keepdim=True) * (1 - spoil)

        reverse = oracle(betas, Epsilon, exact, variance, num_levels=4)
        total = prior_kl(reverse, x_0)
        for t in range(1, num_steps + 1):
            x_t = float(np.sqrt(reference.alpha_bar[t])) * x_0 + float(np.sqrt(reference.sigma2[t])) * eps
            total = total + bound_term(reverse.predict(x_t, torch.full((1600,), t)), x_0).detach()
        return (weight * total).sum().item()

    gaps = [bound(n) - entropy for n in (50, 100, 200)]
    assert all(gap > 0 for gap in gaps)
    assert all(1.8 < a / b < 2.8 for a, b in zip(gaps, gaps[1:]))
    assert gaps[-1] < 0.07 * entropy
    assert bound(50, spoil=0.1) - entropy > 2 * gaps[0] and bound(50, variance=BetaVariance()) > entropy


def test_bits_per_dim_of_a_uniform_guess_among_256_levels_is_8():
    """Nats over D ln 2, for each image."""
    x_0 = torch.zeros(2, 3, 4, 5)
    np.testing.assert_allclose(bits_per_dim(torch.tensor([60, 30]) * math.log(256), x_0).numpy(), [8, 4], rtol=1e-6)


def test_one_step_has_a_prior_and_a_reconstruction_and_nothing_else(images, oracle):
    """T = 1: no KL between steps; the rate is that of the prior."""
    bound = variational_bound(oracle([0.9], CleanImage, clean, num_levels=NUM_LEVELS), images)
    assert bound.diffusion_kl.shape == (4, 0)
    torch.testing.assert_close(bound.total, bound.prior_kl + bound.reconstruction_nll)
    torch.testing.assert_close(bound.rate, bound.prior_kl[:, None])


def test_steps_without_noise_cost_nothing_and_steps_that_undo_none_cost_infinity(images, oracle):
    """beta = 0 in the middle: that KL is exactly 0. beta = 0 first and noise later: x_1 must be hit exactly."""
    free = variational_bound(oracle([0.2, 0.0, 0.3], CleanImage, clean, num_levels=NUM_LEVELS), images)
    assert (free.diffusion_kl[:, 0] == 0).all() and free.total.isfinite().all()
    infinite = variational_bound(oracle([0.0, 0.2], CleanImage, clean, num_levels=NUM_LEVELS), images)
    assert (infinite.diffusion_kl == math.inf).all() and (infinite.reconstruction_nll == 0).all()
