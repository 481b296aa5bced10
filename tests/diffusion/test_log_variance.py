"""Learned log-variances in float32, of any size, against 50 digits: values and gradients of every term of the bound."""

import math
from functools import partial

import pytest
import torch
from mpmath import mp, mpf

from lit_diffusion.diffusion import (
    CleanImage,
    DiscretizedGaussian,
    Gaussian,
    GaussianDensity,
    GaussianProcess,
    LearnedDiagonal,
    LearnedRange,
    LinearSchedule,
    SigmoidVariance,
)
from lit_diffusion.diffusion.bound import bound_term
from lit_diffusion.diffusion.decoder import log_narrow_mass
from lit_diffusion.diffusion.gaussian import GaussianReverse

LOG_VARIANCES = [-60.0, -50.0, -20.0, -9.0, 0.0, 20.0, 50.0, 80.0, 87.0, 100.0, 150.0, 170.0, 200.0, 600.0]
BETAS = [1e-4, 0.01, 0.3]


def close(value, reference):
    """Within 1e-4 in relative terms, or 1e-6 nats."""
    assert value == pytest.approx(float(reference), rel=1e-4, abs=1e-6)


def evaluate(function, mean, log_variance):
    """The value and the gradients by mean and log-variance of a term of N(mean, exp(log_variance)), in float32."""
    mean, log_variance = (torch.tensor([v], requires_grad=True) for v in (mean, log_variance))
    value = function(Gaussian(mean, log_variance=log_variance))
    return value.item(), *(g.item() for g in torch.autograd.grad(value.sum(), (mean, log_variance)))


@pytest.mark.parametrize("log_variance", LOG_VARIANCES)
@pytest.mark.parametrize(("mean", "own"), [(0.0, 1e-4), (0.3, 1e-4), (-2.0, 0.9)])
def test_the_kl_of_any_log_variance_is_its_closed_form(mean, own, log_variance):
    """Half of r - 1 - log r + error^2 / sigma^2, r = own / sigma^2, and its gradients."""
    mp.dps = 50
    own32, mean32 = (mpf(torch.tensor(v).item()) for v in (own, mean))
    inverse = mp.exp(-mpf(log_variance))
    ratio, error = own32 * inverse, mean32**2 * inverse
    results = evaluate(lambda p: Gaussian(torch.zeros(1), torch.tensor([own])).kl(p), mean, log_variance)
    expected = (ratio - 1 - mp.log(ratio) + error) / 2, mean32 * inverse, (1 - ratio - error) / 2
    for result, reference in zip(results, expected, strict=True):
        close(result, reference)


@pytest.mark.parametrize("log_variance", LOG_VARIANCES)
@pytest.mark.parametrize(("x", "mean"), [(0.3, 0.25), (-1.0, 1.0), (0.0, 0.0)])
def test_the_density_of_any_log_variance_is_its_closed_form(x, mean, log_variance):
    """-log N(x; mean, sigma^2) and its gradients."""
    mp.dps = 50
    error, inverse = mpf(mean) - mpf(torch.tensor(x).item()), mp.exp(-mpf(log_variance))
    results = evaluate(lambda p: GaussianDensity().nll(torch.tensor([x]), p), mean, log_variance)
    squared = error**2 * inverse
    expected = (squared + mp.log(2 * mp.pi) + log_variance) / 2, error * inverse, (1 - squared) / 2
    for result, reference in zip(results, expected, strict=True):
        close(result, reference)


@pytest.mark.parametrize("num_levels", [2, 17, 256])
@pytest.mark.parametrize("log_variance", [*LOG_VARIANCES[:2], -12.0, -9.0, -6.0, -4.0, -2.0, *LOG_VARIANCES[4:]])
def test_the_decoder_of_any_log_variance_is_the_mass_of_the_bin(num_levels, log_variance):
    """Of bins at both ends and inside, near the mean and far from it, from much wider to much narrower than sigma."""
    mp.dps = 60 + int(max(0, log_variance))  # a difference of CDFs that agree in half as many digits
    x, half = torch.linspace(-1, 1, num_levels), mpf(1) / (num_levels - 1)
    sigma = mp.exp(mpf(log_variance) / 2)
    for i in {0, 1, num_levels // 2, num_levels - 1}:
        for mean in (0.0, 0.4, -3.0):
            nll = partial(DiscretizedGaussian(num_levels).nll, x[i])
            value, _, slope = evaluate(nll, mean, log_variance)
            level, mean32 = mpf(x[i].item()), mpf(torch.tensor(mean).item())
            low = mp.ninf if i == 0 else (level - half - mean32) / sigma
            high = mp.inf if i == num_levels - 1 else (level + half - mean32) / sigma
            if low + high > 0:
                low, high = -high, -low
            mass = mp.ncdf(high) - mp.ncdf(low)
            moments = [mpf(0) if mp.isinf(z) else z * mp.npdf(z) for z in (low, high)]
            rounding = 3e-7 * (1 + abs(mean)) / float(sigma) * (1 + (2 * abs(float(mp.log(mass)))) ** 0.5)
            assert value == pytest.approx(float(-mp.log(mass)), rel=1e-5, abs=1e-5 + rounding), (i, mean)
            expected = (moments[1] - moments[0]) / mass / 2
            assert slope == pytest.approx(float(expected), rel=2e-3, abs=1e-4 + rounding / float(sigma)), (i, mean)


@pytest.mark.parametrize("half", [1e-12, 1e-6, 5e-5])
def test_the_mass_of_a_narrow_bin_is_exact_at_any_distance(half):
    """In float64, where the density falls by a factor of e^100 within the bin and where it is constant."""
    mp.dps = 60
    for centre in (0.0, -0.7, 3.0, 1e4, -3e4, 1e6):
        low, high = (-abs(mpf(centre)) + side * mpf(half) for side in (-1, 1))
        value = log_narrow_mass(*(torch.tensor(v, dtype=torch.float64) for v in (centre, math.log(2 * half)))).item()
        assert value == pytest.approx(float(mp.log(mp.ncdf(high) - mp.ncdf(low))), rel=1e-14, abs=1e-13)


class Second(torch.nn.Module):
    """A network that predicts x_0 = 0 and `raw` as second output."""

    def __init__(self, raw: float, dtype: torch.dtype, *channels: int):
        super().__init__()
        self.raw = torch.nn.Parameter(torch.tensor(raw, dtype=dtype))

    def forward(self, x, index):
        return torch.cat([0 * x, self.raw.expand_as(x)], dim=1)


@pytest.mark.parametrize(
    ("variance", "raws"),
    [(LearnedDiagonal(), LOG_VARIANCES), (SigmoidVariance(), [-60.0, 0.0, 60.0]), (LearnedRange(), [-40.0, 0.0, 40.0])],
    ids=lambda v: type(v).__name__,
)
@pytest.mark.parametrize("t", [1, 2, 1000])
def test_terms_of_the_bound_in_float32_are_those_in_float64(variance, raws, t):
    """For each learned variance and far second outputs, the loss and the gradient of that output."""
    for raw in raws:
        results = []
        for dtype in (torch.float32, torch.float64):
            make = partial(Second, raw, dtype)
            reverse = GaussianReverse(
                GaussianProcess(LinearSchedule()),
                make,
                CleanImage(),
                variance,
                channels=1,
                clip_x_0=False,
            )
            x_0 = torch.tensor([0.5, -1.0, 0.25], dtype=dtype).view(1, 1, 1, 3)
            term = bound_term(reverse.predict(0.9 * x_0, torch.tensor([t])), x_0)
            results.append((term.item(), torch.autograd.grad(term.sum(), reverse.network.raw)[0].item()))
        for single, double in zip(*results, strict=True):
            assert math.isfinite(double) and single == pytest.approx(double, rel=2e-3, abs=1e-5), raw
