"""The roll's moments, its density and its entropy, each against a computation of another kind."""

import math
import time

import pytest
import torch
from sklearn.datasets import make_swiss_roll

from lit_diffusion.data import SwissRoll
from lit_diffusion.data.swiss_roll import FIRST, LAST
from lit_diffusion.errors import ConfigError


def ready(**arguments):
    data = SwissRoll(**{"num_train": 20_000, "num_test": 5_000, **arguments})
    data.setup()
    return data


def fine_grid(noise, step):
    """A grid that holds the whole roll: points (N, 2) and the area of each."""
    side = torch.arange(-2.6 - 8 * noise, 2.6 + 8 * noise, step * noise, dtype=torch.float64)
    return torch.cartesian_prod(side, side), (step * noise) ** 2


@pytest.mark.parametrize("noise", [0.02, 0.5])
def test_points_have_mean_zero_and_variance_one_noise_included(noise):
    x = torch.cat([ready(noise=noise).images(split) for split in ("train", "test")]).double()
    second = x.square().sum(dim=1) / 2
    assert x.shape == (25_000, 2)
    assert (x.mean(dim=0).abs() < 4 * x.std(dim=0) / len(x) ** 0.5).all()
    assert abs(second.mean() - 1) < 4 * second.std() / len(x) ** 0.5


def test_the_curve_has_the_mean_and_variance_that_are_left_for_it():
    t = FIRST + (LAST - FIRST) * (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    c = SwissRoll(noise=0.3).curve(t)
    assert c.mean(dim=0).abs().max() < 1e-8
    assert c.square().mean().item() == pytest.approx(1 - 0.3**2, abs=1e-8)


def test_the_curve_is_that_of_scikit_learn():
    points, t = make_swiss_roll(500, noise=0, random_state=0)
    plane, ours = torch.from_numpy(points[:, [0, 2]]), SwissRoll().curve(torch.from_numpy(t))
    scale = (ours[1] - ours[0]).norm() / (plane[1] - plane[0]).norm()
    assert torch.allclose((plane - plane[0]) * scale, ours - ours[0], atol=1e-12)
    assert t.min() >= FIRST and t.max() <= LAST


def test_log_density_is_the_integral_over_the_curve():
    """Against a plain midpoint sum of 40,000 terms, on the roll, beyond its ends and between its windings."""
    data = ready(num_train=50, num_test=0)
    t = FIRST + (LAST - FIRST) * (torch.arange(40_000, dtype=torch.float64) + 0.5) / 40_000
    ends = data.curve(torch.tensor([FIRST, LAST]))
    x = torch.cat([data.images("train").double(), ends, ends + 0.05, torch.tensor([[0.0, 0.3], [0.3, 0.0]])])
    squared = (x[:, None] - data.curve(t)).square().sum(dim=-1)
    expected = (-squared / (2 * 0.02**2)).logsumexp(dim=1) - math.log(40_000 * 2 * math.pi * 0.02**2)
    assert torch.allclose(data.log_density(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.2, 0.4, 0.9])
def test_the_density_integrates_to_one_and_minus_its_entropy_is_the_truth(noise):
    """A sum over a square grid, exact for densities this smooth; from 0.2 on the windings run into one another."""
    data = SwissRoll(noise=noise)
    x, area = fine_grid(noise, step=0.6)
    log_p = data.log_density(x)
    assert log_p.exp().sum().item() * area == pytest.approx(1, abs=1e-6)
    assert (log_p.exp() * log_p).sum().item() * area / math.log(2) == pytest.approx(data.truth, abs=1e-4)


def test_the_truth_is_the_mean_log_density_of_points_of_the_roll():
    data = ready(num_train=40_000)
    bits = data.log_density(data.images("train")) / math.log(2)
    error = bits.std().item() / len(bits) ** 0.5
    assert error < 0.01 and abs(bits.mean().item() - data.truth) < 4 * error
    assert data.truth == pytest.approx(-0.0632, abs=1e-3)


def test_with_little_noise_the_truth_is_that_of_a_line_and_its_noise():
    """h = E[log2(3 pi |c'(t)|)] + log2(noise sqrt(2 pi e)), of a locally straight curve without ends."""
    data = SwissRoll(noise=0.0005)
    t = torch.linspace(FIRST, LAST, 100_001, dtype=torch.float64)
    speed = data.curve(t).diff(dim=0).norm(dim=1) / t.diff()
    entropy = (3 * math.pi * speed).log2().mean().item() + math.log2(0.0005 * math.sqrt(2 * math.pi * math.e))
    assert data.truth == pytest.approx(-entropy, abs=1e-3)


def test_with_noise_alone_the_truth_is_that_of_the_standard_gaussian():
    assert SwissRoll(noise=0.999).truth == pytest.approx(-math.log2(2 * math.pi * math.e), abs=1e-4)


def test_the_truth_takes_less_than_a_second_and_is_computed_once():
    data, start = SwissRoll(), time.process_time()
    first = data.truth
    assert time.process_time() - start < 1
    data.log_density = None
    assert data.truth == first


def test_points_are_a_function_of_data_seed_and_not_of_the_run_s():
    data = ready()
    again, other = ready(seed=5), ready(data_seed=1)
    assert torch.equal(again.images("train"), data.images("train"))
    assert torch.equal(again.images("test"), data.images("test"))
    assert not torch.equal(other.images("train"), data.images("train"))
    assert not torch.equal(data.images("train")[:5_000], data.images("test"))


def test_points_are_those_that_results_were_published_on():
    """A change of these makes every earlier score on the roll incomparable."""
    expected = torch.tensor([[1.2282170, -0.9906145]])
    assert torch.allclose(ready().images("test")[:1], expected, atol=1e-6)


def test_points_are_served_as_they_are():
    data = ready(eval_batch_size=5_000)
    (batch,) = data.eval_batches("test")
    assert batch.dtype == torch.float32 and torch.equal(batch, data.images("test"))


@pytest.mark.parametrize("noise", [0, 1e-5, -0.1, 1, float("nan")])
def test_noise_that_leaves_no_density_or_no_roll_is_refused(noise):
    with pytest.raises(ConfigError, match="^noise: expected at least 0.0001 and less than 1, got .*; use 0.02$"):
        SwissRoll(noise=noise)


@pytest.mark.parametrize("counts", [{"num_train": 0}, {"num_test": -1}])
def test_a_roll_of_no_points_is_refused(counts):
    with pytest.raises(ConfigError, match="^num_(train: expected 1 or more, got 0|test: expected 0 or more, got -1)$"):
        SwissRoll(**counts)
