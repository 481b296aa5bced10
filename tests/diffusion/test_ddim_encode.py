"""From images to the latents of DDIM, and from one latent to another."""

import math

import numpy as np
import pytest
import torch

from lit_diffusion.diffusion import CleanImage, DDIMSampler, Epsilon, Velocity
from lit_diffusion.diffusion.interpolation import linear, spherical

BETAS = [0.02, 0.1, 0.3, 0.25, 0.6, 0.4, 0.5]
LINEAR = np.linspace(1e-4, 0.02, 1000)
MEAN = torch.tensor([0.3, -0.5, 0.1]).double()
VARIANCE = torch.tensor([0.5, 0.1, 0.02]).double()


def last(steps):
    *_, end = steps
    return end


@pytest.fixture
def x_0():
    return MEAN + VARIANCE.sqrt() * torch.randn(64, 1, 1, 3).double()


@pytest.fixture
def exact(oracle, gaussian_denoiser):
    """A model that knows E[x_0 | x_t] of data N(MEAN, VARIANCE), for a thousand steps."""
    return oracle(LINEAR, Epsilon, gaussian_denoiser(LINEAR, MEAN, VARIANCE))


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("steps", [None, 3, 1, [2, 5, 6]], ids=str)
@pytest.mark.parametrize("kind", [CleanImage, Epsilon, Velocity], ids=lambda kind: kind.__name__)
def test_encoding_is_ddim_eq_14_forward(kind, steps, clip, oracle, table, x_0):
    """x_t / sqrt(a_t) grows by eps(x_s, s) times the growth of sigma = sqrt((1 - a) / a); step 0 asks for the first.
    eps follows from the x_0 that is clipped, if the model clips.
    """
    reverse = oracle(BETAS, kind, lambda x, t: 0.7 * x + 0.05 * t, clip_x_0=clip)
    reference, limit = table(BETAS), 1 if clip else math.inf
    visited = list(DDIMSampler(steps).subset(reverse.process.schedule))
    x, s, expected = x_0, 0, []
    for t in visited:
        a_s, a_t = float(reference.alpha_bar[s]), float(reference.alpha_bar[t])
        asked = max(s, visited[0])
        kept, sigma2 = float(reference.alpha_bar[asked]), float(reference.sigma2[asked])
        eps = (x - math.sqrt(kept) * (0.7 * x + 0.05 * asked).clamp(-limit, limit)) / math.sqrt(sigma2)
        sigma_s, sigma_t = (math.sqrt(float(reference.sigma2[u])) / math.sqrt(a) for u, a in ((s, a_s), (t, a_t)))
        x = math.sqrt(a_t) * (x / math.sqrt(a_s) + (sigma_t - sigma_s) * eps)
        expected.append((t, x))
        s = t
    way = list(DDIMSampler(steps).encode(reverse, x_0))
    assert [t for t, _ in way] == visited
    for (_, x_t), (_, reference_x_t) in zip(way, expected):
        torch.testing.assert_close(x_t, reference_x_t)


def test_decoding_returns_what_was_encoded_with_an_error_of_the_first_order(exact, x_0):
    """Twice the steps, half the error; at T = 1000 it is below 1% of the spread of the data."""
    errors = []
    for steps in (125, 250, 500, None):
        sampler = DDIMSampler(steps)
        _, latents = last(sampler.encode(exact, x_0))
        back = last(sampler.chain(exact, latents)).x_s
        errors.append((back - x_0).square().mean().sqrt().item())
    assert errors[-1] < 0.01 * VARIANCE.mean().sqrt()
    assert all(0.4 < b / a < 0.65 for a, b in zip(errors, errors[1:]))


def test_latents_of_gaussian_data_are_standard_normal(exact, x_0):
    """The ODE maps the data's quantiles to those of x_T: for a Gaussian, (x_0 - mean) / deviation, scaled."""
    _, latents = last(DDIMSampler().encode(exact, x_0))
    torch.testing.assert_close(latents, (x_0 - MEAN) / VARIANCE.sqrt(), rtol=0.03, atol=0.03)


def test_encoding_draws_nothing_and_keeps_no_gradient(exact, x_0):
    before = torch.get_rng_state()
    _, latents = last(DDIMSampler(5).encode(exact, x_0))
    assert torch.equal(torch.get_rng_state(), before) and not latents.requires_grad


WEIGHTS = torch.linspace(0, 1, 5)


@pytest.mark.parametrize("mix", [linear, spherical])
def test_a_mixture_begins_and_ends_with_its_ends(mix):
    """Exactly, and swapping the ends swaps the way."""
    a, b = torch.randn(2, 3, 1, 4, 4)
    way = mix(a, b, WEIGHTS)
    assert way.shape == (3, 5, 1, 4, 4)
    assert torch.equal(way[:, 0], a) and torch.equal(way[:, -1], b)
    torch.testing.assert_close(way, mix(b, a, WEIGHTS).flip(1))


def test_a_spherical_mixture_stays_on_the_sphere_at_even_angles():
    """Ends of one length: every point has it, and each is as far from the next."""
    a, b = (5 * x / x.norm(dim=1, keepdim=True) for x in torch.randn(2, 6, 20).double())
    way = spherical(a, b, WEIGHTS.double())
    torch.testing.assert_close(way.norm(dim=2), torch.full((6, 5), 5.0).double())
    cosines = (way[:, 1:] * way[:, :-1]).sum(2) / 25
    torch.testing.assert_close(cosines, cosines[:, :1].expand_as(cosines))


def test_a_spherical_mixture_of_parallel_ends_is_linear():
    """The same latent twice, as of the same image, does not divide by zero."""
    a = torch.randn(2, 1, 4, 4)
    for b in (a, 2 * a, -a):
        torch.testing.assert_close(spherical(a, b, WEIGHTS), linear(a, b, WEIGHTS))
