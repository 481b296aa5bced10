"""Parzen windows against scikit-learn and closed forms, whatever the order of the samples."""

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KernelDensity

from lit_diffusion.metrics import parzen
from lit_diffusion.metrics.parzen import ParzenWindows

SIGMAS = torch.tensor([0.05, 0.2, 1.0])


def windows(x, y, sigmas=SIGMAS, blocks=(7, 20, 33), batch=4):
    """Of images x on samples y, both in parts."""
    made = ParzenWindows(sigmas, len(x), x[0].numel())
    for part in y.tensor_split(blocks):
        for first in range(0, len(x), batch):
            made.add(first, x[first : first + batch], part)
    return made


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(10, 1, 4, 4, generator=generator), torch.rand(50, 1, 4, 4, generator=generator)


@pytest.mark.parametrize("pairs", [1, 13, 10**6])
def test_densities_are_scikit_learns_however_much_is_in_memory(images, pairs, monkeypatch):
    """Of all sigmas at once; pairs: of distances at a time."""
    monkeypatch.setattr(parzen, "PAIRS", pairs)
    x, y = images
    found = windows(x, y).log_density(len(y))
    for sigma, own in zip(SIGMAS, found):
        reference = KernelDensity(bandwidth=float(sigma), rtol=0, leaf_size=100).fit(y.flatten(1).numpy())
        np.testing.assert_allclose(own, reference.score_samples(x.flatten(1).numpy()), rtol=1e-6)


def test_one_sample_is_a_gaussian(images):
    """log N(x; y, sigma^2 I), where nothing underflows: 800 values at sigma 0.001."""
    x, y = torch.zeros(1, 800), torch.ones(1, 800)
    found = windows(x, y, torch.tensor([1e-3]), blocks=()).log_density(1).item()
    sigma = torch.tensor(1e-3).double().item()
    assert found == pytest.approx(-800 / 2 / sigma**2 - 800 * math.log(sigma * math.sqrt(2 * math.pi)), rel=1e-12)


def test_many_samples_of_a_gaussian_give_its_convolution_with_the_window():
    """y ~ N(0, 1), so p(x) is near N(x; 0, 1 + sigma^2); in one dimension that holds without a caveat."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.linspace(-2, 2, 9)[:, None], torch.randn(200_000, 1, generator=generator)
    found = windows(x, y, torch.tensor([0.3]), blocks=()).log_density(len(y))[0]
    expected = torch.distributions.Normal(0.0, math.sqrt(1.09)).log_prob(x[:, 0]).double()
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_processes_with_samples_of_their_own_make_the_density_of_all(images):
    """One of three has none."""
    x, y = images
    parts = [windows(x, part, blocks=()).log_sums for part in (y[:20], y[20:])]
    merged = ParzenWindows(SIGMAS, len(x), 16)
    merged.merge(torch.stack([*parts, merged.log_sums]))
    torch.testing.assert_close(merged.log_density(50), windows(x, y).log_density(50), rtol=1e-12, atol=0)
