"""Every schedule against its formula in numpy, and the accuracy of the tables."""

import math

import numpy as np
import pytest
import torch

from lit_diffusion.diffusion import (
    ConstantSchedule,
    CosineSchedule,
    JSDSchedule,
    LinearSchedule,
    QuadraticSchedule,
    RescaledLinearSchedule,
    SigmoidSchedule,
    TabulatedSchedule,
    WarmupSchedule,
)
from lit_diffusion.diffusion.schedule import NoiseSchedule, spread
from lit_diffusion.errors import ConfigError


def warmup(num_steps, fraction):
    rising = int(num_steps * fraction)
    return np.concatenate([np.linspace(1e-4, 0.02, rising), np.full(num_steps - rising, 0.02)])


def cosine(num_steps, s=0.008, max_beta=0.999):
    f = [math.cos((t / num_steps + s) / (1 + s) * math.pi / 2) ** 2 for t in range(num_steps + 1)]
    return np.array([min(1 - f[t] / f[t - 1], max_beta) for t in range(1, num_steps + 1)])


def sigmoid(num_steps, start=-3.0, end=3.0, tau=1.0, max_beta=0.999):
    logistic = lambda v: 1 / (1 + math.exp(-v))  # noqa: E731
    low, high = logistic(start / tau), logistic(end / tau)
    points = [start + (end - start) * t / num_steps for t in range(num_steps + 1)]
    f = [(high - logistic(v / tau)) / (high - low) for v in points]
    return np.array([min(1 - f[t] / f[t - 1], max_beta) for t in range(1, num_steps + 1)])


FORMULAS = {
    "linear": (LinearSchedule(1000), np.linspace(1e-4, 0.02, 1000)),
    "linear, own ends": (LinearSchedule(7, 0.1, 0.6), np.array([0.1 + 0.5 * i / 6 for i in range(7)])),
    "quad": (QuadraticSchedule(1000), np.linspace(math.sqrt(1e-4), math.sqrt(0.02), 1000) ** 2),
    "const": (ConstantSchedule(1000), np.full(1000, 0.02)),
    "warmup10": (WarmupSchedule(1000, fraction=0.1), warmup(1000, 0.1)),
    "warmup50": (WarmupSchedule(1000, fraction=0.5), warmup(1000, 0.5)),
    "warmup, T = 15": (WarmupSchedule(15, fraction=0.25), warmup(15, 0.25)),
    "jsd": (JSDSchedule(1000), 1 / np.arange(1000, 0, -1.0)),
    "rescaled linear, T = 1000": (RescaledLinearSchedule(1000), np.linspace(1e-4, 0.02, 1000)),
    "rescaled linear, T = 4000": (RescaledLinearSchedule(), np.linspace(0.25e-4, 0.005, 4000)),
    "cosine": (CosineSchedule(1000), cosine(1000)),
    "cosine, own s": (CosineSchedule(10, s=0.1, max_beta=0.5), cosine(10, 0.1, 0.5)),
    "tabulated": (
        TabulatedSchedule([0.5, 0.1, 0.25, 0.01, 0.3, 0.7, 0.2]),
        np.array([0.5, 0.1, 0.25, 0.01, 0.3, 0.7, 0.2]),
    ),
    "sigmoid": (SigmoidSchedule(1000), sigmoid(1000)),
    "sigmoid, own ends": (SigmoidSchedule(10, -1, 4, tau=0.7), sigmoid(10, -1, 4, 0.7)),
}


@pytest.fixture(params=FORMULAS, scope="module")
def case(request):
    """A schedule and beta_1..beta_T from its formula."""
    return FORMULAS[request.param]


def test_betas_are_those_of_the_formula(case):
    """beta_t = 1 - alpha_bar_t / alpha_bar_{t-1} to nearly all digits of float64, for every t."""
    schedule, betas = case
    t = schedule.steps()
    assert schedule.num_steps == len(betas) and t.tolist() == list(range(1, len(betas) + 1))
    np.testing.assert_allclose(schedule.beta(t, t - 1).numpy(), betas, rtol=1e-10)


def test_tables_agree_with_recursions_in_extended_precision(case, table):
    """alpha_bar, 1 - alpha_bar and log SNR at every t: no digit is lost where alpha_bar is near 1 or near 0."""
    schedule, betas = case
    reference, t = table(betas), torch.arange(len(betas) + 1)
    np.testing.assert_allclose(schedule.alpha_bar(t).numpy(), reference.alpha_bar.astype(float), rtol=1e-11)
    np.testing.assert_allclose(schedule.sigma2(t).numpy(), reference.sigma2.astype(float), rtol=1e-11)
    inside = reference.alpha_bar[1:] > 0
    log_snr = np.log(reference.alpha_bar[1:][inside] / reference.sigma2[1:][inside]).astype(float)
    np.testing.assert_allclose(schedule.log_snr(t[1:][inside]).numpy(), log_snr, rtol=0, atol=1e-10)
    assert schedule.alpha_bar(t).dtype == schedule.sigma2(t).dtype == torch.float64


def test_steps_between_any_two_times_compose(case, table):
    """alpha_{t|s} = prod alpha_u and beta_{t|s} = 1 - alpha_{t|s} for u = s+1..t, also far apart."""
    schedule, betas = case
    reference, num_steps = table(betas), len(betas)
    for t, s in [(1, 0), (num_steps, 0), (num_steps, num_steps - 1), (num_steps // 2, 2), (num_steps - 1, 1)]:
        alpha, beta = (float(v) for v in reference.between(t, s))
        t, s = torch.tensor([t]), torch.tensor([s])
        assert schedule.alpha(t, s).item() == pytest.approx(alpha, rel=1e-11, abs=0)
        assert schedule.beta(t, s).item() == pytest.approx(beta, rel=1e-10, abs=0)


def test_signal_to_noise_falls_at_every_step(case):
    """log SNR is infinite at t = 0 and strictly decreasing."""
    schedule, _ = case
    log_snr = schedule.log_snr(torch.arange(schedule.num_steps + 1))
    assert log_snr[0] == math.inf
    assert (log_snr.diff() < 0).all()


def test_betas_below_the_resolution_of_one_are_kept():
    """1 - 1e-18 is 1 in float64; the noise after three such steps is still 3e-18."""
    schedule = ConstantSchedule(3, 1e-18)
    assert schedule.sigma2(torch.tensor([3])).item() == pytest.approx(3e-18, rel=1e-12, abs=0)


def test_jsd_erases_a_constant_fraction_of_the_signal_and_all_of_it_by_the_end():
    """alpha_bar_t = (T - t) / T, beta_T = 1 and alpha_bar_T = 0 exactly."""
    schedule = JSDSchedule(8)
    t = torch.arange(9)
    torch.testing.assert_close(schedule.alpha_bar(t), (8 - t).double() / 8)
    assert schedule.alpha_bar(t)[-1] == 0 and schedule.sigma2(t)[-1] == 1
    assert schedule.beta(t[-1:], t[-2:-1]) == 1


@pytest.mark.parametrize(
    ("schedule", "curve"),
    [
        (CosineSchedule(50), lambda u: math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2),
        (SigmoidSchedule(50), lambda u: 1 / (1 + math.exp(6 * u - 3))),
    ],
    ids=["cosine", "sigmoid"],
)
def test_alpha_bar_follows_its_curve_until_the_cap_on_beta(schedule, curve):
    """alpha_bar_t is the curve scaled to run from 1 to 0; only the last beta is capped, at 0.999."""
    span = curve(0) - curve(1)
    for t in range(50):
        scaled = (curve(t / 50) - curve(1)) / span
        assert schedule.alpha_bar(torch.tensor([t])).item() == pytest.approx(scaled, rel=1e-9)
    assert schedule.beta(torch.tensor([50]), torch.tensor([49])).item() == pytest.approx(0.999)


def test_rescaled_linear_schedule_destroys_as_much_at_every_length():
    """log alpha_bar_T is that of T = 1000 within 1%, for the sum of betas does not depend on T."""
    logs = [RescaledLinearSchedule(n).table[-1].item() for n in (500, 1000, 4000)]
    np.testing.assert_allclose(logs, logs[1], rtol=0.01)
    assert logs[1] == pytest.approx(math.log(4.036e-5), rel=1e-3)  # DDPM's linear schedule, by hand


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LinearSchedule(3, 0.1, 1.5), ["LinearSchedule", "beta_3", "1.5"]),
        (lambda: LinearSchedule(3, -0.1, 0.5), ["LinearSchedule", "beta_1", "-0.1"]),
        (lambda: ConstantSchedule(3, float("nan")), ["ConstantSchedule", "beta_1", "nan"]),
        (lambda: RescaledLinearSchedule(10), ["RescaledLinearSchedule", "beta_6"]),
        (lambda: QuadraticSchedule(3, -1e-4, 0.02), ["QuadraticSchedule", "-0.0001"]),
        (lambda: QuadraticSchedule(3, 1e-4, 1.5), ["QuadraticSchedule", "beta_3"]),
        (lambda: CosineSchedule(3, max_beta=-0.5), ["CosineSchedule", "beta_1"]),
        (lambda: SigmoidSchedule(3, start=3, end=-3), ["SigmoidSchedule", "start"]),
        (lambda: SigmoidSchedule(3, tau=0), ["SigmoidSchedule", "tau"]),
        (lambda: WarmupSchedule(3, fraction=1.5), ["WarmupSchedule", "fraction", "1.5"]),
        (lambda: NoiseSchedule(torch.tensor([0.1, 2.0])), ["NoiseSchedule", "beta_2 = 2"]),
        *[
            (lambda kind=kind, n=n: kind(n), [kind.__name__, "num_steps"])
            for kind in (LinearSchedule, JSDSchedule, CosineSchedule, WarmupSchedule, RescaledLinearSchedule)
            for n in (0, -1)
        ],
    ],
)
def test_what_is_not_a_schedule_is_refused_by_name_in_one_line(make, words):
    """A beta outside [0, 1], no steps, or arguments of no curve."""
    with pytest.raises(ConfigError) as error:
        make()
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("schedule", "beta"),
    [
        (LinearSchedule(1), 1e-4),
        (QuadraticSchedule(1), 1e-4),
        (ConstantSchedule(1), 0.02),
        (WarmupSchedule(1), 0.02),
        (JSDSchedule(1), 1),
        (CosineSchedule(1), 0.999),
        (SigmoidSchedule(1), 0.999),
        (RescaledLinearSchedule(1), 0.1),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, NoiseSchedule) else "",
)
def test_one_step_is_a_schedule(schedule, beta):
    """T = 1: the first beta of the formula, and 1 - alpha_bar_1 = beta_1."""
    one, zero = torch.tensor([1]), torch.tensor([0])
    assert schedule.num_steps == 1
    assert schedule.sigma2(one).item() == schedule.beta(one, zero).item() == pytest.approx(beta)


@pytest.mark.parametrize("start", [-2.7, -3, -0.4])
@pytest.mark.parametrize("kind", [CosineSchedule, SigmoidSchedule])
def test_curves_without_a_cap_end_in_pure_noise(kind, start):
    """With max_beta = 1 the curve's own last beta stands, which is 1 to rounding."""
    own = {"start": start, "end": 3.1} if kind is SigmoidSchedule else {}
    assert kind(10, max_beta=1.0, **own).alpha_bar(torch.tensor([10])).item() < 1e-15


def test_precision_of_a_module_does_not_reach_the_tables():
    """The tables stay float64 under half(), and are in no state_dict."""
    schedule = LinearSchedule(10)
    exact = schedule.sigma2(schedule.steps())
    assert torch.equal(schedule.half().sigma2(schedule.steps()), exact)
    assert exact.dtype == torch.float64 and not schedule.state_dict()


def test_spread_lets_a_coefficient_multiply_its_own_image():
    """One number an image, in the images' precision."""
    x = torch.ones(2, 3, 4, 5)
    product = spread(torch.tensor([2.0, 3.0]).double(), x) * x
    assert product.dtype == torch.float32
    assert (product[0] == 2).all() and (product[1] == 3).all()
