"""The score against closed forms: strata, unbiased estimates of every figure, and standard errors that are right."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm
from torch import nn

from lit_diffusion.diffusion import (
    CleanImage,
    ConstantSchedule,
    CosineSchedule,
    DiscretizedGaussian,
    GaussianProcess,
    GaussianReverse,
    JSDSchedule,
    LinearSchedule,
    PosteriorVariance,
    QuadraticSchedule,
    SigmoidSchedule,
    WarmupSchedule,
    bound_estimate,
)
from lit_diffusion.diffusion.bound_estimate import (
    BoundSums,
    cut_strata,
    estimate,
    mean_and_error,
    uniform_lattice,
)
from lit_diffusion.diffusion.distributions import Gaussian
from lit_diffusion.diffusion.schedule import NoiseSchedule

SCHEDULES = [LinearSchedule, QuadraticSchedule, ConstantSchedule, WarmupSchedule, JSDSchedule, CosineSchedule]
SCHEDULES.append(SigmoidSchedule)
BETAS = {
    "linear": np.linspace(0.02, 0.5, 8),
    "jsd": 1 / np.arange(8, 0, -1),
    "large first": [0.5, 0.05, 0.05, 0.1, 0.1, 0.2, 0.2, 0.4],
    "none in the middle": [0.05, 0.2, 0.0, 0.0, 0.2, 0.3, 0.5, 0.7],
}
LEVELS, MEAN, VARIANCE = 9, 0.2, 0.3
VALUES = np.linspace(-1, 1, LEVELS)
SHARES = norm.pdf(VALUES, MEAN, math.sqrt(VARIANCE)) / norm.pdf(VALUES, MEAN, math.sqrt(VARIANCE)).sum()
PIXELS = 4


class Denoiser(nn.Module):
    """E[x_0 | x_t] of pixels N(MEAN, VARIANCE)."""

    def __init__(self, kept, gain):
        super().__init__()
        self.kept, self.gain = torch.tensor(kept), torch.tensor(gain)
        self.anchor = nn.Parameter(torch.zeros(()))

    def forward(self, x, index):
        kept, gain = (table[index + 1].view(-1, 1, 1, 1) for table in (self.kept, self.gain))
        return MEAN + gain * (x - kept * MEAN)


class Exact:
    """The reverse model of exact means for given betas and, for pixels of each of VALUES, its expected bound.

    terms, squares: (T+1, LEVELS), nats and squared error of x_0 a pixel at t = 1..T (row 0 is empty); prior: (LEVELS,).
    From PAPERS section 1: x_0 minus its estimate is N(bias, spread^2), of which each KL is a quadratic form; the
    decoder's term is integrated over 10,000 quantiles.
    """

    def __init__(self, betas, table):
        reference = table(betas)
        self.num_steps = reference.num_steps
        kept, sigma2 = (v.astype(float) for v in (np.sqrt(reference.alpha_bar), reference.sigma2))
        gain = VARIANCE * kept / (kept**2 * VARIANCE + sigma2)
        process = GaussianProcess(schedule_of(betas))
        self.reverse = GaussianReverse(
            process,
            lambda *_: Denoiser(kept, gain),
            CleanImage(),
            PosteriorVariance(last="posterior_2"),
            DiscretizedGaussian(LEVELS),
            channels=1,
            clip_x_0=False,
        ).eval()
        bias, spread = (1 - gain * kept)[:, None] * (VALUES - MEAN), (gain * np.sqrt(sigma2))[:, None]
        self.squares = bias**2 + spread**2
        self.terms = np.zeros_like(self.squares)
        for t in range(2, self.num_steps + 1):
            c_0, _, small = (float(v) for v in reference.posterior(t, t - 1))
            self.terms[t] = c_0**2 * self.squares[t] / (2 * small) if small else 0
        sigma, half = math.sqrt(reference.variances()[0]), 1 / (LEVELS - 1)
        error = bias[1] + spread[1] * norm.ppf((np.arange(10_000)[:, None] + 0.5) / 10_000)
        high, low = norm.cdf((error + half) / sigma), norm.cdf((error - half) / sigma)
        high[:, -1], low[:, 0] = 1, 0
        self.terms[1] = -np.log(high - low).mean(0)
        self.prior = 0.5 * (sigma2[-1] - 1 - np.log(sigma2[-1]) + (kept[-1] * VALUES) ** 2)

    def figures(self, weights, first):
        """Of images whose pixels have VALUES with these weights: what `flat` makes of an estimate over strata."""
        bits = 1 / math.log(2)
        terms, squares, prior = bits * self.terms @ weights, self.squares @ weights, bits * self.prior @ weights
        rate = [prior + terms[t + 1 :].sum() for t in range(self.num_steps + 1)]
        cut = [slice(a, b) for a, b in zip(first[:-1], first[1:])]
        return np.array(
            [prior + terms.sum(), prior, terms[2:].sum(), terms[1], prior + terms[2:].sum(), squares[1]]
            + [terms[c].sum() for c in cut]
            + [np.mean(rate[c]) for c in cut]
            + [squares[c].mean() for c in cut]
        )


def flat(e):
    """All figures of an estimate as one array; errors of x_0 as mean squares, which are what is unbiased."""
    curve = e.curve
    whole = [e.total, e.prior_kl, e.diffusion_kl, e.reconstruction_nll, e.rate]
    squares = (np.array([e.rmse.value, *curve.rmse.tolist()]) / 127.5) ** 2
    return np.array([*(one.value for one in whole), squares[0], *curve.terms, *curve.rate, *squares[1:]])


def schedule_of(betas):
    """A schedule of these betas."""
    return NoiseSchedule(torch.as_tensor(np.asarray(betas, dtype=np.float64)))


def sums_of(reverse, x_0, first, seed=0, block=10**9):
    """All pairs of images and strata, `block` in a batch."""
    sums, terms = BoundSums(first, len(x_0), torch.device("cpu")), len(first) - 1
    generator, pairs = torch.Generator().manual_seed(seed), range(len(x_0) * terms)
    for n in range(0, len(pairs), block):
        part = pairs[n : n + block]
        sums.add(reverse, x_0[part[0] // terms : part[-1] // terms + 1], part, generator)
    return sums


def draw_images(count, seed):
    """(count, 1, 1, PIXELS) float64, of pixels with VALUES and their SHARES."""
    levels = np.random.default_rng(seed).choice(LEVELS, (count, 1, 1, PIXELS), p=SHARES)
    return torch.tensor(VALUES[levels]), np.bincount(levels.ravel(), minlength=LEVELS) / levels.size


def test_a_constant_is_added_to_the_last_term_and_to_no_error(table):
    exact = Exact(BETAS["linear"], table)
    sums = sums_of(exact.reverse, draw_images(20, seed=0)[0], cut_strata(exact.reverse.process.schedule))
    before = estimate(sums)
    sums.add_constant(PIXELS * 3 * math.log(2), PIXELS)
    after = estimate(sums)
    assert after.total.value == pytest.approx(before.total.value + 3)
    assert after.reconstruction_nll.value == pytest.approx(before.reconstruction_nll.value + 3)
    assert after.total.error == pytest.approx(before.total.error) and after.rate == before.rate
    assert torch.allclose(after.curve.terms - before.curve.terms, torch.tensor([3.0] + 7 * [0.0]).double())
    assert torch.allclose(after.curve.terms_error, before.curve.terms_error)
    assert torch.equal(after.curve.rate, before.curve.rate)


@pytest.mark.parametrize("terms", [2, 3, 20, 500, 999, 1000, 2000, None])
@pytest.mark.parametrize("kind", SCHEDULES, ids=lambda kind: kind.__name__)
def test_strata_cover_every_step_once_with_t_1_alone_and_none_empty(kind, terms):
    """Whatever the schedule; as many strata as terms, at most T."""
    first = cut_strata(kind(1000), terms)
    assert first[0] == 1 and first[1] == 2 and first[-1] == 1001
    assert (first.diff() > 0).all() and len(first) == min(terms or 1000, 1000) + 1


@pytest.mark.parametrize("num_steps", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_strata_exist_for_schedules_without_and_with_nothing_but_noise(num_steps, beta):
    """log SNR infinite, or the same at all steps, or both."""
    for betas in (np.full(num_steps, beta), np.linspace(0, beta, num_steps), [0.0, 0.0, 0.5, 1.0, 0.0][:num_steps]):
        for terms in range(2, num_steps + 3):
            first = cut_strata(schedule_of(betas), terms)
            assert first[0] == 1 and first[-1] == len(betas) + 1 and (first.diff() > 0).all()
            assert len(first) == min(terms, len(betas)) + 1


@pytest.mark.parametrize("kind", SCHEDULES, ids=lambda kind: kind.__name__)
def test_strata_of_several_steps_share_the_information_but_for_a_step_at_either_end(kind, table):
    """log(1 + 4 SNR) falls by the same amount in each, from independent tables."""
    schedule = kind(1000)
    reference = table(-torch.expm1(schedule.table.diff()).numpy())
    information = np.log1p(4 * reference.alpha_bar[1:] / reference.sigma2[1:]).astype(float)  # at t = 1..1000
    first = cut_strata(schedule, 40).numpy()
    for a, b in zip(first[1:-1], first[2:]):
        share = (information[0] - information[-1]) / 39
        step = np.diff(-information[a - 2 : b - 1]).max()
        assert b - a == 1 or abs(information[a - 2] - information[b - 2] - share) <= 2 * step


@pytest.mark.parametrize("terms", [None, 2, 4, 7])
@pytest.mark.parametrize("betas", BETAS.values(), ids=BETAS)
def test_every_figure_is_unbiased_for_the_closed_form_of_an_exact_denoiser(betas, terms, table):
    """L, its terms, rate and distortion, whole and by stratum, of the very images, over 40 seeds."""
    exact, (images, weights) = Exact(betas, table), draw_images(8, seed=1)
    first, copies = cut_strata(exact.reverse.process.schedule, terms), images.repeat(25, 1, 1, 1)
    runs = np.array([flat(estimate(sums_of(exact.reverse, copies, first, seed))) for seed in range(40)])
    expected, error = exact.figures(weights, first), runs.std(0, ddof=1) / math.sqrt(40)
    assert (np.abs(runs.mean(0) - expected) <= 4.5 * error + 1e-6 * np.abs(expected)).all()
    assert (error[:6] < 0.025 * expected[:6] + 1e-12).all()


@pytest.mark.parametrize("betas", [BETAS["linear"], BETAS["jsd"]], ids=["linear", "jsd"])
def test_intervals_of_two_standard_errors_cover_the_truth_as_often_as_they_should(betas, table):
    """95% intervals hold the distribution's own figures in 93% to 97% of 1,000 repetitions, images drawn anew."""
    exact = Exact(betas, table)
    first = cut_strata(exact.reverse.process.schedule, 4)
    truth = exact.figures(SHARES, first)
    truth, covered = [*truth[:5], 127.5 * math.sqrt(truth[5]), *truth[6:10]], []
    for seed in range(1000):
        e = estimate(sums_of(exact.reverse, draw_images(120, seed)[0], first, seed))
        whole = [e.total, e.prior_kl, e.diffusion_kl, e.reconstruction_nll, e.rate, e.rmse]
        pairs = [*whole, *zip(e.curve.terms.tolist(), e.curve.terms_error.tolist())]
        covered.append([abs(value - true) <= 1.96 * error for (value, error), true in zip(pairs, truth)])
    share = np.mean(covered, axis=0)[np.array(truth) > 0]  # without signal in x_T, L_T is 0 for every image
    assert ((share >= 0.93) & (share <= 0.97)).all()


def test_an_estimate_from_all_terms_is_that_of_as_many_terms_as_steps_or_more(table):
    """k = T, k > T and null are the same computation."""
    exact, images = Exact(BETAS["linear"], table), draw_images(5, seed=0)[0]
    schedule = exact.reverse.process.schedule
    runs = [sums_of(exact.reverse, images, cut_strata(schedule, terms)) for terms in (None, 8, 100)]
    assert all(torch.equal(runs[0].images, run.images) and torch.equal(runs[0].strata, run.strata) for run in runs)


@pytest.mark.parametrize("block", [1, 3, 7, 100])
def test_any_batch_size_counts_every_image_once_in_every_stratum(block, table):
    """L_T, which nothing random enters, is each image's own, and each stratum has one draw of each image."""
    exact, (images, _) = Exact(BETAS["linear"], table), draw_images(5, seed=0)
    sums = sums_of(exact.reverse, images, cut_strata(exact.reverse.process.schedule, 4), block=block)
    index = torch.searchsorted(torch.tensor(VALUES), images.flatten(1) - 1e-9)
    own = torch.tensor(exact.prior)[index].mean(1) / math.log(2)
    torch.testing.assert_close(sums.images[:, 0], own, rtol=1e-6, atol=1e-12)
    assert (sums.strata[:, 0] == 5).all() and (sums.images[:, 1:] > 0).all()


def test_one_image_has_figures_but_no_standard_error(table):
    """A spread cannot be estimated from one."""
    exact, images = Exact(BETAS["linear"], table), draw_images(1, seed=0)[0]
    e = estimate(sums_of(exact.reverse, images, cut_strata(exact.reverse.process.schedule, 6)))
    assert math.isfinite(e.total.value) and e.total.error is None and e.rmse.error is None
    assert e.curve.terms.isfinite().all() and e.curve.terms_error.isnan().all()


def test_one_step_has_a_prior_and_a_decoder_and_nothing_else(table):
    """T = 1: the rate is that of the prior."""
    exact, images = Exact([0.9], table), draw_images(3, seed=0)[0]
    e = estimate(sums_of(exact.reverse, images, cut_strata(exact.reverse.process.schedule, 20)))
    assert e.diffusion_kl.value == 0 and e.rate == e.prior_kl
    assert e.total.value == pytest.approx(e.prior_kl.value + e.reconstruction_nll.value, rel=1e-12)


def test_an_infinite_term_leaves_the_rates_above_it_finite(table):
    """beta_1 = 0: x_1 is x_0 itself, which no step from x_2 hits exactly."""
    exact, images = Exact([0.1, 0.2, 0.3, 0.4], table), draw_images(3, seed=0)[0]
    exact.reverse.process = GaussianProcess(schedule_of([0.0, 0.2, 0.3, 0.4]))
    e = estimate(sums_of(exact.reverse, images, cut_strata(exact.reverse.process.schedule)))
    assert e.total.value == math.inf and e.total.error is None
    assert e.curve.rate[0] == math.inf and e.curve.rate[1:].isfinite().all()


def test_draws_are_uniform_and_normal_and_independent_between_images():
    """Kolmogorov-Smirnov over 20,000 images, stratum by stratum; float32 as in models."""
    own, generator = torch.arange(20_000).repeat_interleave(5), torch.Generator().manual_seed(0)
    stratum = torch.tensor([0, 1, 2, 500, 999]).repeat(20_000)
    u = uniform_lattice(torch.empty(20_000, 2), own, stratum, generator).view(20_000, 5, 2)
    z = Gaussian.base_icdf(u).double()
    for i in range(5):
        assert kstest(u[:, i, 0], "uniform").pvalue > 1e-3 and kstest(z[:, i, 1], "norm").pvalue > 1e-3
        assert abs(np.corrcoef(u[:-1, i, 0], u[1:, i, 0])[0, 1]) < 0.03
        assert abs(np.corrcoef(u[:, i, 0], u[:, i, 1])[0, 1]) < 0.03


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_quantiles_are_finite_at_both_ends_and_keep_the_moments(dtype):
    """Over an even grid of numbers in [0, 1), 0 included, as torch.rand draws them."""
    u = torch.arange(2**22, dtype=dtype) / 2**22
    z = Gaussian.base_icdf(u).double()
    assert z.isfinite().all()
    np.testing.assert_allclose(z[1:-1], norm.ppf(u[1:-1].double()), atol=5e-3)
    assert abs(z.mean()) < 1e-5 and abs(z.square().mean() - 1) < 1e-5


@pytest.mark.parametrize("window", [5, 8, 20])
def test_draws_of_neighbouring_strata_are_spread_evenly(window):
    """Any so many neighbours leave no gap wider than 2.7 even shares; independent ones leave wider ones."""
    stratum, generator = torch.arange(200), torch.Generator().manual_seed(0)
    u = uniform_lattice(torch.empty(1), torch.zeros(200, dtype=torch.long), stratum, generator)

    def widest(numbers):
        part = numbers.unfold(0, window, 1).sort(dim=1).values
        return torch.cat([part.diff(dim=1), part[:, :1] + 1 - part[:, -1:]], dim=1).max()

    assert widest(u) < 2.7 / window < widest(torch.rand(200, generator=generator))


def test_even_draws_halve_the_variance_of_independent_ones(table, monkeypatch):
    """20 of 1,000 terms of one image, whose sum differs by its draws alone."""
    exact = Exact(np.linspace(1e-4, 0.02, 1000), table)
    images, first = draw_images(1, seed=3)[0].expand(2000, 1, 1, PIXELS), cut_strata(exact.reverse.process.schedule, 20)

    def independent(like, own, stratum, generator):
        return torch.rand(len(own), *like.shape[1:], generator=generator, dtype=like.dtype)

    even = sums_of(exact.reverse, images, first).images.sum(1).var()
    monkeypatch.setattr(bound_estimate, "uniform_lattice", independent)
    assert even < sums_of(exact.reverse, images, first).images.sum(1).var() / 2


def test_nothing_is_drawn_from_the_global_generator_and_no_graph_is_kept(table):
    """Same seed, same sums."""
    exact, images, before = Exact(BETAS["linear"], table), draw_images(4, seed=0)[0], torch.get_rng_state()
    first = cut_strata(exact.reverse.process.schedule, 3)
    one, two = (sums_of(exact.reverse, images, first, seed=5) for _ in range(2))
    assert torch.equal(one.images, two.images) and not one.images.requires_grad
    assert torch.equal(torch.get_rng_state(), before)


def test_mean_and_error_are_those_of_the_values():
    """Against numpy; none for one value, zero for equal ones."""
    x = torch.randn(50).double()
    mean, error = mean_and_error(torch.tensor(50), x.sum(), (x**2).sum())
    assert mean.item() == pytest.approx(x.mean().item()) and error.item() == pytest.approx(x.std().item() / 50**0.5)
    assert mean_and_error(torch.tensor(1), x[0], x[0] ** 2)[1].isnan()
    assert mean_and_error(torch.tensor(3), torch.tensor(0.3), torch.tensor(0.03))[1] < 1e-4
