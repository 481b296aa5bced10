"""The weights of L_simple against the papers' formulas."""

import numpy as np
import pytest
import torch

from lit_diffusion.diffusion import (
    BetaVariance,
    BoundWeight,
    CleanImage,
    Constant,
    Epsilon,
    MinSNR,
    PosteriorMean,
    PosteriorVariance,
    Velocity,
)
from lit_diffusion.errors import ConfigError

LINEAR = np.linspace(1e-4, 0.02, 1000)
STEPS = torch.tensor([1, 2, 3, 100, 400, 999, 1000])


@pytest.fixture(scope="module")
def weigh(oracle):
    """Returns the weights at STEPS of the linear schedule of 1000 steps, in numpy."""

    def make(weighting, kind, variance=None):
        return weighting(oracle(LINEAR, kind, lambda x, t: x, variance), STEPS).numpy()

    return make


@pytest.fixture(scope="module")
def linear(table):
    return table(LINEAR)


def at(array):
    return array[STEPS.numpy()].astype(float)


def sigma2(linear, variance):
    """Fixed large or fixed small, with beta~_2 at t = 1, as in the released code."""
    values = linear.variances() if isinstance(variance, PosteriorVariance) else LINEAR.copy()
    values[0] = linear.variances()[0]
    return values[STEPS.numpy() - 1]


@pytest.mark.parametrize("variance", [BetaVariance(), PosteriorVariance()], ids=type)
def test_bound_weight_of_eps_is_that_of_ddpm_eq_12(weigh, linear, variance):
    """beta_t^2 / (2 sigma_t^2 alpha_t (1 - alpha_bar_t))."""
    beta = at(linear.beta)
    expected = beta**2 / (2 * sigma2(linear, variance) * (1 - beta) * at(linear.sigma2))
    np.testing.assert_allclose(weigh(BoundWeight(), Epsilon, variance), expected, rtol=1e-9)


@pytest.mark.parametrize("variance", [BetaVariance(), PosteriorVariance()], ids=type)
def test_bound_weight_of_the_posterior_mean_is_that_of_ddpm_eq_8(weigh, linear, variance):
    """1 / (2 sigma_t^2)."""
    expected = 1 / (2 * sigma2(linear, variance))
    np.testing.assert_allclose(weigh(BoundWeight(), PosteriorMean, variance), expected, rtol=1e-9)


def test_bound_weight_of_x_0_is_half_the_gain_in_signal_to_noise(weigh, linear):
    """(SNR_{t-1} - SNR_t) / 2 for the posterior variance and t >= 2 (Kingma et al. 2021, eq. 13)."""
    snr = linear.alpha_bar[1:] / linear.sigma2[1:]
    expected = ((snr[:-1] - snr[1:]) / 2).astype(float)[STEPS.numpy()[1:] - 2]
    np.testing.assert_allclose(weigh(BoundWeight(), CleanImage, PosteriorVariance())[1:], expected, rtol=1e-9)


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_is_the_paper_s_for_each_prediction(weigh, linear, gamma):
    """min(SNR, gamma) for x_0, over SNR for eps, over SNR + 1 for v (Hang et al. 2023, section 3.4)."""
    snr = at(linear.alpha_bar) / at(linear.sigma2)
    capped = np.minimum(snr, gamma)
    assert (capped < snr).any() and (capped == snr).any()
    for kind, expected in [(CleanImage, capped), (Epsilon, capped / snr), (Velocity, capped / (snr + 1))]:
        np.testing.assert_allclose(weigh(MinSNR(gamma), kind), expected, rtol=1e-9)


def test_constant_weight_is_one(weigh):
    """At every step, in float64."""
    np.testing.assert_array_equal(weigh(Constant(), Epsilon), np.ones(len(STEPS)))


@pytest.mark.parametrize("weighting", [Constant(), MinSNR(), BoundWeight()], ids=type)
@pytest.mark.parametrize("kind", [CleanImage, Velocity], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("variance", [BetaVariance(), PosteriorVariance()], ids=type)
@pytest.mark.parametrize("betas", [[0.0, 0.0], [1.0, 1.0], [0.0, 0.5, 0.0, 1.0]], ids=str)
def test_weights_are_finite_where_steps_add_no_noise_or_nothing_else(oracle, weighting, kind, variance, betas):
    """An infinite signal-to-noise ratio gives a weight, not NaN."""
    weights = weighting(oracle(betas, kind, lambda x, t: x, variance), torch.arange(1, len(betas) + 1))
    assert weights.isfinite().all() and (weights >= 0).all()


@pytest.mark.parametrize("gamma", [0.0, -1.0])
def test_a_gamma_that_is_not_positive_is_refused(gamma):
    """One line with the number and what to write."""
    with pytest.raises(ConfigError, match=f"^MinSNR.gamma: expected a positive number, got {gamma:g}"):
        MinSNR(gamma)
