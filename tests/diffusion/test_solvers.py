"""Solvers against the papers' formulas, their orders of convergence, and which steps they take."""

import math

import pytest
import torch

from lit_diffusion.diffusion import (
    AncestralSampler,
    CleanImage,
    CosineSchedule,
    DDIMSampler,
    DPMSolverPlusPlusSampler,
    Epsilon,
    HeunSampler,
    JSDSchedule,
    LinearSchedule,
    LogSNRSchedule,
    PosteriorMean,
    Velocity,
)
from lit_diffusion.diffusion.step_spacing import SPACINGS
from lit_diffusion.errors import ConfigError

BETAS = [0.02, 0.1, 0.3, 0.25, 0.6, 0.4, 0.5]
SHAPE = (3, 1, 2, 2)
SUBSETS = pytest.mark.parametrize("steps", [None, 3, 1, [2, 5, 6]], ids=str)
KINDS = pytest.mark.parametrize("kind", [PosteriorMean, CleanImage, Epsilon, Velocity], ids=lambda kind: kind.__name__)
CLIPS = pytest.mark.parametrize("clip", [False, True])


def clean(x, t):
    return (0.7 * x).sin() + 0.05 * t


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def last(steps):
    *_, end = steps
    return end


def sample(sampler, reverse, x):
    """x_0 of the chain from x with a fixed seed."""
    return last(sampler.chain(reverse, x, generator())).x_s


@pytest.fixture
def x_T():  # noqa: N802
    return torch.randn(SHAPE, dtype=torch.float64)


class Levels:
    """alpha_t, sigma_t and lambda_t of a table, and the chain of a sampler over them, from above, down to 0."""

    def __init__(self, table, sampler, reverse):
        levels = range(table.num_steps + 1)
        self.alpha, self.sigma = ([math.sqrt(one[t]) for t in levels] for one in (table.alpha_bar, table.sigma2))
        self.lambda_ = [math.log(self.alpha[t] / self.sigma[t]) if t else math.inf for t in levels]
        chain = list(sampler.subset(reverse.process.schedule))[::-1]
        self.pairs = list(zip(chain, [*chain[1:], 0]))


@SUBSETS
@CLIPS
@KINDS
def test_dpm_solver_is_algorithm_2_of_its_paper(kind, clip, steps, oracle, table, x_T):
    """x_i = (sigma_i / sigma_{i-1}) x_{i-1} - alpha_i (exp(-h_i) - 1) D, whatever the network predicts."""
    sampler, reverse, x = DPMSolverPlusPlusSampler(steps), oracle(BETAS, kind, clean, clip_x_0=clip), x_T
    at, before = Levels(table(BETAS), sampler, reverse), None
    for t, s in at.pairs:
        h, x_0 = at.lambda_[s] - at.lambda_[t], clean(x, t).clamp(-1, 1) if clip else clean(x, t)
        estimate = x_0
        if before and s:
            r = before[1] / h
            estimate = (1 + 1 / (2 * r)) * x_0 - 1 / (2 * r) * before[0]
        x = at.sigma[s] / at.sigma[t] * x - at.alpha[s] * math.expm1(-h) * estimate
        before = x_0, h
    torch.testing.assert_close(sample(sampler, reverse, x_T), x)


@SUBSETS
def test_sde_dpm_solver_is_the_formula_of_its_paper(steps, oracle, table, x_T):
    """x_i = (sigma_i / sigma_{i-1}) exp(-h) x_{i-1} + alpha_i (1 - exp(-2h)) D + sigma_i sqrt(1 - exp(-2h)) z."""
    sampler, reverse, x = DPMSolverPlusPlusSampler(steps, eta=1.0), oracle(BETAS, Epsilon, clean), x_T
    at, draws, before = Levels(table(BETAS), sampler, reverse), generator(), None
    for t, s in at.pairs:
        h, x_0 = at.lambda_[s] - at.lambda_[t], clean(x, t)
        estimate = x_0 if not before or not s else x_0 + h / (2 * before[1]) * (x_0 - before[0])
        x = at.sigma[s] / at.sigma[t] * math.exp(-h) * x - at.alpha[s] * math.expm1(-2 * h) * estimate
        if s:
            z = torch.randn(SHAPE, generator=draws, dtype=torch.float64)
            x = x + at.sigma[s] * math.sqrt(-math.expm1(-2 * h)) * z
        before = x_0, h
    torch.testing.assert_close(sample(sampler, reverse, x_T), x)


@SUBSETS
@CLIPS
@KINDS
def test_heun_is_algorithm_1_of_its_paper(kind, clip, steps, oracle, table, x_T):
    """In y = x / alpha and its noise v = sigma / alpha: d = (y - D(y, v)) / v at both ends, averaged, but in the last
    step.
    """
    sampler, reverse = HeunSampler(steps), oracle(BETAS, kind, clean, clip_x_0=clip)
    at = Levels(table(BETAS), sampler, reverse)

    def slope(y, t):
        x_0 = clean(at.alpha[t] * y, t)
        return (y - (x_0.clamp(-1, 1) if clip else x_0)) / (at.sigma[t] / at.alpha[t])

    y = x_T / at.alpha[at.pairs[0][0]]
    for t, s in at.pairs:
        way, d = at.sigma[s] / at.alpha[s] - at.sigma[t] / at.alpha[t], slope(y, t)
        there = y + way * d
        y = y + way * (d + slope(there, s)) / 2 if s else there
    torch.testing.assert_close(sample(sampler, reverse, x_T), y)


@SUBSETS
@CLIPS
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_order_1_is_ddim(eta, clip, steps, oracle, x_T):
    """To the last bit, from noise to images and back."""
    reverse = oracle(BETAS, Velocity, clean, clip_x_0=clip)
    first, ddim = DPMSolverPlusPlusSampler(steps, eta, order=1), DDIMSampler(steps, eta)
    assert torch.equal(sample(first, reverse, x_T), sample(ddim, reverse, x_T))
    assert torch.equal(last(first.encode(reverse, x_T))[1], last(ddim.encode(reverse, x_T))[1])


ORDERS = pytest.mark.parametrize(
    ("make", "factor"),
    [(DDIMSampler, 2), (DPMSolverPlusPlusSampler, 4), (HeunSampler, 4)],
    ids=["DDIM", "DPM-Solver++", "Heun"],
)
CENTRES = torch.tensor([[0.8, 0.2], [-0.5, 0.7], [-0.1, -0.9]]).double()
SHARES = torch.tensor([0.5, 0.3, 0.2]).double()
VARIANCE = 0.1
FINE = LogSNRSchedule(1025, 1e-3, 1e3)


@pytest.fixture(scope="module")
def mixture(oracle):
    """A model that knows E[x_0 | x_t] of a mixture of three Gaussians in the plane."""

    def denoise(x, t):
        kept, total = FINE.alpha_bar(t), FINE.alpha_bar(t) * VARIANCE + FINE.sigma2(t)
        error = x.flatten(1)[:, None] - kept.sqrt() * CENTRES  # (B, 3, 2)
        shares = (SHARES.log() - error.square().sum(-1) / (2 * total)).softmax(1)
        means = CENTRES + kept.sqrt() * VARIANCE / total * error
        return (shares[..., None] * means).sum(1).view_as(x)

    betas = FINE.beta(FINE.steps(), FINE.steps() - 1)
    return oracle(betas, CleanImage, denoise)


@pytest.fixture(scope="module")
def fine(mixture):
    """x_T and x_0 of a solution in all of the 1,024 intervals, 8 times as many as the largest number tried."""
    x_T = torch.randn(256, 1, 1, 2, generator=generator()).double()  # noqa: N806
    return x_T, sample(HeunSampler(), mixture, x_T)


@ORDERS
def test_twice_the_steps_divide_the_error_by_2_or_4(make, factor, mixture, fine):
    """Within 10%, from 16 to 128 intervals. On this schedule even steps are even in log SNR and no step is moved, so
    that every doubling halves each h, of 0.86 at most; a schedule with h > 1 near its ends is not in that range. All
    chains end with the same step from t = 1 to 0, which is not part of the ODE.
    """
    x_T, x_0 = fine  # noqa: N806
    errors = [
        (sample(make(1 + intervals), mixture, x_T) - x_0).square().mean().sqrt() for intervals in (16, 32, 64, 128)
    ]
    for error, halved in zip(errors, errors[1:]):
        assert float(error / halved) == pytest.approx(factor, rel=0.1)


@ORDERS
def test_latents_converge_like_the_samples(make, factor, mixture, fine):
    """From images to latents, against 512 intervals of the same solver: it, too, cannot know eps at step 0."""
    _, x_0 = fine
    exact = last(make(513).encode(mixture, x_0))[1]
    errors = [
        (last(make(1 + intervals).encode(mixture, x_0))[1] - exact).square().mean().sqrt() for intervals in (16, 32, 64)
    ]
    for error, halved in zip(errors, errors[1:]):
        assert float(error / halved) == pytest.approx(factor, rel=0.15)


@SUBSETS
@pytest.mark.parametrize("make", [AncestralSampler, DDIMSampler, DPMSolverPlusPlusSampler, HeunSampler])
def test_nfe_is_how_often_the_network_is_asked(make, steps, oracle):
    sampler, reverse = make(steps), oracle(BETAS, Epsilon, clean)
    sampler(reverse, SHAPE, generator())
    assert len(reverse.network.calls) == sampler.nfe(reverse.process.schedule)


@SUBSETS
@pytest.mark.parametrize(
    "make", [DPMSolverPlusPlusSampler, HeunSampler, lambda steps: DPMSolverPlusPlusSampler(steps, 1)]
)
def test_the_last_step_is_x_0_itself_and_one_point_is_recovered(make, steps, oracle, x_T):
    """E[x_0|x_t] is the point at every step: no extrapolation or average leaves it."""
    point = torch.tensor([[0.1, -0.9], [0.5, 1.0]]).double()
    reverse = oracle(BETAS, CleanImage, lambda x, t: point.expand_as(x))
    *_, end = make(steps).chain(reverse, x_T, generator())
    assert torch.equal(end.x_s, end.x_0)
    torch.testing.assert_close(end.x_s, point.expand(SHAPE), rtol=0, atol=0)


@pytest.mark.parametrize("spacing", ["quadratic", "log_snr"])
@pytest.mark.parametrize("make", [DPMSolverPlusPlusSampler, HeunSampler], ids=lambda one: one.__name__)
@pytest.mark.parametrize("schedule", [JSDSchedule(50), CosineSchedule(50)], ids=lambda one: type(one).__name__)
def test_a_schedule_without_signal_at_the_end_is_left_by_an_euler_step(schedule, make, spacing, oracle):
    """x / alpha is infinite there for Heun, and h for the other; images of [-1, 1] stay of that size."""
    t = schedule.steps()
    reverse = oracle(schedule.beta(t, t - 1), CleanImage, lambda x, t: (0.5 * x + 0.1).tanh(), clip_x_0=True)
    images = make(8, spacing=spacing)(reverse, SHAPE, generator())
    assert images.abs().max() <= 1


SCHEDULES = [LinearSchedule(40), JSDSchedule(40), CosineSchedule(40), LogSNRSchedule(40), LinearSchedule(40, 0, 0.3)]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_spacing_visits_as_many_distinct_steps_as_asked_for_with_both_ends(spacing, schedule):
    for count in range(1, 41):
        steps = list(AncestralSampler(count, spacing).subset(schedule))
        assert len(steps) == count and steps == sorted(set(steps)) and steps[-1] == 40
        assert count == 1 or steps[0] == 1


def test_quadratic_spacing_is_even_in_the_root_of_t():
    steps = DDIMSampler(10, spacing="quadratic").subset(LinearSchedule())
    assert steps == [1 + round(999 * (i / 9) ** 2) for i in range(10)]


def test_log_snr_spacing_is_the_nearest_step_to_even_log_snr():
    schedule = LinearSchedule()
    known = schedule.log_snr(schedule.steps())
    wanted = torch.linspace(known[0], known[-1], 12, dtype=torch.float64)
    nearest = (known[:, None] - wanted).abs().argmin(0) + 1
    assert list(DDIMSampler(12, spacing="log_snr").subset(schedule)) == nearest.tolist()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DPMSolverPlusPlusSampler(order=3), "^DPMSolverPlusPlusSampler.order: expected 1 or 2, got 3$"),
        (lambda: DPMSolverPlusPlusSampler(eta=2), "^DPMSolverPlusPlusSampler.eta: expected a number in"),
        (
            lambda: HeunSampler([1, 5], "log_snr"),
            "^HeunSampler.spacing: expected the number of steps with log_snr, got a",
        ),
        (lambda: AncestralSampler(5, "karras"), "^AncestralSampler.spacing: expected uniform or .*, got karras$"),
        (lambda: HeunSampler(9).check(7), "^HeunSampler.steps: expected at most the model's T = 7, got 9$"),
    ],
)
def test_settings_that_do_not_work_are_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()
