"""p(x_0 | z) of levels, bits and real values: masses, draws, learned scales."""

import math

import pytest
import torch
from torch.distributions import Normal

from lit_diffusion.baselines import BernoulliLikelihood, GaussianLikelihood, LogisticLikelihood
from lit_diffusion.errors import ConfigError
from lit_diffusion.pixels import to_float, to_levels

ALL = [
    GaussianLikelihood(17),
    GaussianLikelihood(2, initial_scale=0.01),
    GaussianLikelihood(17, per_element=True),
    LogisticLikelihood(256, initial_scale=0.03),
    LogisticLikelihood(5, per_element=True),
    BernoulliLikelihood(),
]


def table(likelihood, location=0.3, raw=-0.4):
    """All levels as examples (L, 1, 1, 1), and the network's output for each."""
    count = likelihood.num_levels
    output = torch.tensor([location, raw][: likelihood.outputs]).view(1, -1, 1, 1).expand(count, -1, 1, 1)
    return to_float(torch.arange(count), count).view(-1, 1, 1, 1), output


@pytest.mark.parametrize("likelihood", ALL, ids=lambda one: f"{type(one).__name__}-{one.num_levels}-{one.outputs}")
def test_masses_sum_to_one_and_are_those_of_the_draws(likelihood):
    """Over all levels; 200,000 draws fall on each level as often as its mass says, and their mean is `mean`."""
    for location in (-3.0, -1.0, 0.3, 2.0):
        x_0, output = table(likelihood, location)
        p = (-likelihood.nll(x_0, output)).exp()
        assert p.sum().item() == pytest.approx(1, abs=1e-5)
    x_0, output = table(likelihood)
    draws = likelihood.sample(output[:1].expand(200_000, -1, 1, 1), torch.Generator().manual_seed(0))
    counts = torch.bincount(to_levels(draws, likelihood.num_levels).flatten().long(), minlength=likelihood.num_levels)
    p = (-likelihood.nll(x_0, output)).exp()
    assert ((counts / 200_000 - p).abs() < 4.5 * (p * (1 - p) / 200_000).sqrt() + 1e-5).all()
    assert torch.isin(draws, x_0).all()


def test_the_density_of_real_values_is_that_of_torch():
    likelihood = GaussianLikelihood(None, initial_scale=0.7)
    x_0, output = torch.randn(9, 3), torch.randn(9, 3)
    torch.testing.assert_close(likelihood.nll(x_0, output), -Normal(output, 0.7).log_prob(x_0).sum(1))
    assert likelihood.mean(output) is output
    draws = likelihood.sample(torch.zeros(100_000, 1), torch.Generator().manual_seed(0))
    assert draws.std().item() == pytest.approx(0.7, rel=0.01)


@pytest.mark.parametrize("per_element", [False, True])
def test_the_scale_starts_as_asked_and_stays_above_its_bound(per_element):
    likelihood = GaussianLikelihood(None, per_element, initial_scale=0.2, min_scale=0.05)
    output = torch.zeros(1, likelihood.outputs)
    assert likelihood.gaussian(output).variance.sqrt().item() == pytest.approx(0.2, rel=1e-5)
    if per_element:
        output[:, 1] = -100.0
    else:
        with torch.no_grad():
            likelihood.log_scale.fill_(-100.0)
    assert likelihood.gaussian(output).variance.sqrt().item() == pytest.approx(0.05, rel=1e-5)


def test_a_learned_scale_reaches_the_spread_of_the_data():
    """Gradient descent on the NLL of Gaussian noise finds its standard deviation."""
    likelihood = GaussianLikelihood(None)
    x_0 = 0.1 * torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.LBFGS(likelihood.parameters(), line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = likelihood.nll(x_0, torch.zeros_like(x_0)).mean()
        value.backward()
        return value

    optimizer.step(loss)
    assert likelihood.gaussian(x_0).variance[0].sqrt().item() == pytest.approx(
        x_0.square().mean().sqrt().item(), rel=1e-3
    )


def test_binary_values_have_the_cross_entropy_of_their_logit():
    likelihood, logits = BernoulliLikelihood(), torch.tensor([[2.0], [2.0], [-80.0]])
    x_0 = torch.tensor([[1.0], [-1.0], [1.0]])
    expected = torch.tensor([math.log1p(math.exp(-2)), math.log1p(math.exp(2)), 80.0])
    torch.testing.assert_close(likelihood.nll(x_0, logits), expected)
    torch.testing.assert_close(likelihood.mean(logits), 2 * logits.sigmoid() - 1)
    assert set(likelihood.outcome(logits).flatten().tolist()) <= {-1.0, 1.0}


def test_data_that_do_not_fit_are_refused_by_their_levels():
    GaussianLikelihood(17).check_levels(17)
    with pytest.raises(ConfigError, match="expected 17 levels.*for 256 levels; use GaussianLikelihood .* 17"):
        LogisticLikelihood(256).check_levels(17)
    with pytest.raises(ConfigError, match="expected real values.*use GaussianLikelihood with num_levels: null"):
        BernoulliLikelihood().check_levels(None)
    with pytest.raises(ConfigError, match="initial_scale: expected a number above min_scale"):
        GaussianLikelihood(17, initial_scale=1e-4)
