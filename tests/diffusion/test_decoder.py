"""The discretized likelihood against the normal CDF in 50 digits, far into both tails."""

import math

import numpy as np
import pytest
import torch
from mpmath import mp, mpf

from lit_diffusion.diffusion import DiscretizedGaussian, DiscretizedLogistic, Gaussian, TanhDiscretizedGaussian
from lit_diffusion.errors import ConfigError

LEVELS = [2, 3, 17, 256]
MEANS = [-40.0, -1.3, -1.0, 0.0, 0.3, 1.0, 7.0]
SIGMAS = [1e-6, 1e-3, 0.0071, 0.3, 1.0, 30.0]
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def levels(num_levels, dtype=torch.float64):
    return torch.linspace(-1, 1, num_levels, dtype=dtype)


def nll(decoder, x, mean, variance):
    """-log p(x) for levels x (N,), one mean and one variance."""
    return decoder.nll(x, Gaussian(torch.full_like(x, mean), torch.full_like(x, variance)))


def exact(x, mean, sigma, num_levels):
    """-log p(x) and its derivative by the mean, of the mass between the bin's edges, in 50 digits.

    Far above the mean the mass is that of the mirrored bin: mp.ncdf is then small and not 1.
    """
    mp.dps = 50
    x, mean, sigma, half = mpf(x), mpf(mean), mpf(sigma), mpf(1) / (num_levels - 1)
    low = mp.ninf if x < -1 + half else (x - half - mean) / sigma
    high = mp.inf if x > 1 - half else (x + half - mean) / sigma
    if low + high > 0:
        low, high = -high, -low
        sign = -1
    else:
        sign = 1
    mass = mp.ncdf(high) - mp.ncdf(low)
    density = [mpf(0) if mp.isinf(z) else mp.npdf(z) for z in (low, high)]
    return -mp.log(mass), sign * (density[1] - density[0]) / mass / sigma


@DTYPES
@pytest.mark.parametrize("num_levels", LEVELS)
@pytest.mark.parametrize("decoder", [DiscretizedGaussian, DiscretizedLogistic, TanhDiscretizedGaussian])
def test_masses_of_all_levels_sum_to_one(decoder, num_levels, dtype):
    """For means inside, on and far outside [-1, 1], and for variances from 1e-12 to 1e4.

    In float32 neighbours see their common edge one rounding apart, which is eps / sigma of a standard deviation.
    """
    x = levels(num_levels, dtype)
    for mean in MEANS:
        for sigma in SIGMAS + [100.0]:
            total = torch.logsumexp(-nll(decoder(num_levels), x, mean, sigma**2).double(), 0).item()
            assert total == pytest.approx(0, abs=2e-5 + 1e-7 / sigma if dtype is torch.float32 else 1e-9)


@pytest.mark.parametrize("num_levels", LEVELS)
def test_nll_is_exact_far_into_both_tails(num_levels):
    """Within 1e-10 relative of 50-digit arithmetic, in float64, for levels at both ends, next to them and inside."""
    x = levels(num_levels)
    chosen = sorted({0, 1, num_levels // 2, num_levels - 2, num_levels - 1})
    for mean in MEANS:
        for sigma in SIGMAS:
            value = nll(DiscretizedGaussian(num_levels), x, mean, sigma**2)
            for i in chosen:
                reference = float(exact(x[i].item(), mean, sigma, num_levels)[0])
                assert value[i].item() == pytest.approx(reference, rel=1e-10, abs=1e-12), (mean, sigma, i)


@pytest.mark.parametrize("sigma", [0.002, 0.0071, 0.05, 1.0])
def test_nll_in_float32_loses_no_more_than_rounding_of_the_edges_costs(sigma):
    """256 levels: roundings of x +- half - mean times the slope z / sigma of the nll, or over a bin's mass."""
    x = levels(256, torch.float32)
    for mean in (-1.3, -0.2, 0.0, 0.999, 3.0):
        value = nll(DiscretizedGaussian(256), x, mean, sigma**2)
        for i in (0, 1, 100, 128, 254, 255):
            reference = float(exact(x[i].item(), np.float32(mean).item(), sigma, 256)[0])
            slack = 2.4e-7 * (1 + abs(mean)) * (255 * sigma + (2 * reference) ** 0.5 / sigma)
            assert value[i].item() == pytest.approx(reference, rel=1e-6, abs=slack), (mean, i)


def test_tails_do_not_underflow():
    """A level a million sigmas away costs half a million million nats, where a probability would be zero."""
    x = torch.tensor([0.0, 1.0])
    value = nll(DiscretizedGaussian(256), x, -1.0, 1e-12)
    torch.testing.assert_close(value, torch.tensor([0.5e12 * (1 - 1 / 255) ** 2, 0.5e12 * (2 - 1 / 255) ** 2]))


@DTYPES
def test_gradient_of_the_mean_is_right_far_into_both_tails(dtype):
    """Within 1e-3 of 50-digit arithmetic, also where torch.special.log_ndtr's own gradient has no digit left."""
    x = levels(17, dtype)
    for sigma in (1e-4, 0.01, 0.3, 3.0):
        for mean in (-1000.0, -5.0, -1.01, 0.06, 0.4, 30.0):
            parameter = torch.full_like(x, mean).requires_grad_()
            value = DiscretizedGaussian(17).nll(x, Gaussian(parameter, torch.full_like(x, sigma**2)))
            (gradient,) = torch.autograd.grad(value.sum(), parameter)
            for i in (0, 1, 8, 15, 16):
                reference = float(exact(x[i].item(), parameter[i].item(), sigma, 17)[1])
                assert gradient[i].item() == pytest.approx(reference, rel=1e-3, abs=1e-4 / sigma), (sigma, mean, i)


def test_gradient_of_the_variance_is_the_finite_difference():
    """d nll / d log variance, in float64, from the middle of a bin to far outside it."""
    x, step = levels(17), 1e-6
    for mean in (-3.0, -0.98, 0.0, 0.21, 1.5):
        for variance in (1e-4, 0.01, 1.0):
            log_variance = torch.full_like(x, math.log(variance)).requires_grad_()
            p = Gaussian(torch.full_like(x, mean), log_variance.exp())
            (gradient,) = torch.autograd.grad(DiscretizedGaussian(17).nll(x, p).sum(), log_variance)
            up, down = (nll(DiscretizedGaussian(17), x, mean, variance * math.exp(d)) for d in (step, -step))
            torch.testing.assert_close(gradient, (up - down) / (2 * step), rtol=1e-5, atol=1e-7)


@DTYPES
@pytest.mark.parametrize("decoder", [DiscretizedGaussian(17), TanhDiscretizedGaussian(17)], ids=type)
def test_value_and_gradient_are_finite_everywhere(decoder, dtype):
    """For means up to 1e18, variances from zero to 1e20, and means on the very edge of a bin."""
    x = levels(17, dtype)
    for mean in [0.0, 1 / 16, -1 / 16, 1.0, -3.0, 300.0, -1e5, 1e9, -1e18]:
        for variance in [0.0, 1e-45, 1e-38, 1e-30, 1e-19, 1e-12, 1e-4, 1.0, 1e8, 1e20]:
            parameters = [torch.full_like(x, v).requires_grad_() for v in (mean, variance)]
            value = decoder.nll(x, Gaussian(*parameters))
            assert (value >= 0).all() and value.isfinite().all(), (mean, variance)
            for gradient in torch.autograd.grad(value.sum(), parameters):
                assert not gradient.isnan().any(), (mean, variance)
                if variance == 0 or variance >= 1e-12 and abs(mean) < 1e9:
                    assert gradient.isfinite().all(), (mean, variance)


def test_gradient_at_the_centre_of_a_normal_is_not_lost():
    """A mean on a bin's edge: the CDF's argument is exactly zero, its slope is not."""
    mean = torch.tensor([0.0625, -0.0625], requires_grad=True)
    value = DiscretizedGaussian(17).nll(torch.zeros(2), Gaussian(mean, torch.full((2,), 0.01)))
    (gradient,) = torch.autograd.grad(value.sum(), mean)
    reference = float(exact(0.0, 0.0625, 0.1, 17)[1])
    torch.testing.assert_close(gradient, torch.tensor([reference, -reference]))


def test_a_point_mass_on_a_level_decodes_to_that_level():
    """Variance zero: cost 0 for the level under the mean, finite and huge for the others."""
    value = nll(DiscretizedGaussian(5), levels(5, torch.float32), 0.5, 0.0)
    assert value[3] == 0 and (value[[0, 1, 2, 4]] > 1e15).all() and value.isfinite().all()


def test_tanh_decoder_is_the_released_formula():
    """cdf(z) = (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) / 2, open ends, probabilities clamped at 1e-12."""
    x, half = levels(256).numpy(), 1 / 255
    cdf = lambda z: 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))  # noqa: E731
    for mean, sigma in [(0.1, 0.02), (-0.99, 0.3), (1.4, 0.01), (0.0, 2.0)]:
        low, high = cdf((x - half - mean) / sigma), cdf((x + half - mean) / sigma)
        mass = np.where(x < -0.999, high, np.where(x > 0.999, 1 - low, high - low))
        value = nll(TanhDiscretizedGaussian(256), torch.as_tensor(x), mean, sigma**2)
        np.testing.assert_allclose(value.numpy(), -np.log(np.maximum(mass, 1e-12)), rtol=1e-6)


@pytest.mark.parametrize("sigma", [0.002, 0.0071, 0.05, 1.0])
def test_tanh_decoder_is_close_to_the_exact_one(sigma):
    """Probabilities differ by less than 1e-3 (twice the error of the approximation of the CDF)."""
    x = levels(256)
    for mean in (-1.1, -0.3, 0.0, 0.7):
        a, b = (nll(d(256), x, mean, sigma**2).neg().exp() for d in (DiscretizedGaussian, TanhDiscretizedGaussian))
        assert (a - b).abs().max() < 1e-3


@pytest.mark.parametrize("decoder", [DiscretizedGaussian, TanhDiscretizedGaussian])
@pytest.mark.parametrize("num_levels", [1, 0, -3])
def test_fewer_than_two_levels_are_refused_by_name(decoder, num_levels):
    """One line with the class, the number and what to write."""
    with pytest.raises(ConfigError, match=f"^{decoder.__name__}.num_levels: expected 2 or more, got {num_levels}"):
        decoder(num_levels)


@pytest.mark.parametrize("num_levels", LEVELS)
def test_logistic_nll_is_exact_far_into_both_tails(num_levels):
    """Within 1e-10 relative of the logistic CDF of the same variance in 50 digits."""
    mp.dps = 50
    x, half, size = levels(num_levels), mpf(1) / (num_levels - 1), mp.sqrt(3) / mp.pi
    for mean in MEANS:
        for sigma in [0.0071, 0.3, 1.0, 30.0]:
            value = nll(DiscretizedLogistic(num_levels), x, mean, sigma**2)
            for i in {0, num_levels // 2, num_levels - 1}:
                low, high = ((mpf(x[i].item()) + e - mpf(mean)) / (mpf(sigma) * size) for e in (-half, half))
                low, high = mp.ninf if i == 0 else low, mp.inf if i == num_levels - 1 else high
                if low + high > 0:
                    low, high = -high, -low
                mass = 1 / (1 + mp.exp(-high)) - (0 if mp.isinf(low) else 1 / (1 + mp.exp(-low)))
                assert value[i].item() == pytest.approx(float(-mp.log(mass)), rel=1e-10, abs=1e-12), (mean, sigma, i)
