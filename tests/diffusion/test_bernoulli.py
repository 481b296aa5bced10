"""Bernoulli against torch.distributions, at certainty, and against double precision."""

import math

import pytest
import torch
from torch.distributions import Bernoulli as Reference
from torch.distributions import kl_divergence

from lit_diffusion.diffusion import Bernoulli

CERTAIN = [0.0, 1e-30, 1e-9, 0.3, 1 - 2**-24, 1.0]


@pytest.fixture
def rates():
    """Two rates over (3, 4) float64, one of them one number per example."""
    return torch.rand(3, 1).double().expand(3, 4), torch.rand(3, 4).double()


def test_kl_log_prob_entropy_and_mean_are_those_of_torch_distributions(rates):
    """Their values 0 and 1 are our -1 and 1."""
    (p, q), (rate_p, rate_q) = map(Bernoulli, rates), rates
    torch.testing.assert_close(p.kl(q), kl_divergence(Reference(rate_p), Reference(rate_q)))
    torch.testing.assert_close(q.kl(p), kl_divergence(Reference(rate_q), Reference(rate_p)))
    torch.testing.assert_close(p.entropy(), Reference(rate_p).entropy())
    torch.testing.assert_close(p.mean, 2 * Reference(rate_p).mean - 1)
    for value in (0.0, 1.0):
        bits = torch.full_like(rate_p, value)
        torch.testing.assert_close(p.log_prob(2 * bits - 1), Reference(rate_p).log_prob(bits))


def test_kl_and_entropy_are_expectations_of_log_prob(rates):
    """By summing over the two values."""
    p, q = map(Bernoulli, rates)
    values = torch.tensor([-1.0, 1.0], dtype=torch.float64).view(2, 1, 1)
    weights = p.log_prob(values).exp()
    torch.testing.assert_close(weights.sum(0), torch.ones(3, 4).double())
    torch.testing.assert_close(p.kl(q), (weights * (p.log_prob(values) - q.log_prob(values))).sum(0))
    torch.testing.assert_close(p.entropy(), -(weights * p.log_prob(values)).sum(0))


@pytest.mark.parametrize("draw", ["sample", "outcome"])
def test_draws_are_binary_and_have_the_rate(draw):
    """100,000 draws of each of five rates within five standard errors; a certain value is drawn every time."""
    rate, n = torch.tensor([0.0, 0.1, 0.5, 0.8, 1.0]), 100_000
    x = getattr(Bernoulli(rate.expand(n, 5)), draw)(torch.Generator().manual_seed(1))
    assert x.dtype == torch.float32 and set(x.unique().tolist()) == {-1.0, 1.0}
    error = ((x == 1).float().mean(0) - rate).abs()
    assert (error <= 5 * (rate * (1 - rate) / n).sqrt()).all()


def test_a_draw_is_its_noise_compared_with_the_rate():
    """Uniform noise is 1 where it lies below the rate, so that noises carry over from one rate to the next."""
    rate, uniform = torch.tensor([[0.25, 0.25, 0.75]]), torch.tensor([[0.2, 0.3, 0.3]])
    assert Bernoulli(rate).rsample(Bernoulli.base_icdf(uniform)).tolist() == [[1.0, -1.0, 1.0]]
    drawn = Bernoulli.draw_base(torch.empty(10_000, 2).double(), torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.float64 and drawn.min() >= 0 and drawn.max() < 1
    assert abs(drawn.mean() - 0.5) < 5 / math.sqrt(12 * 20_000)


def test_sample_draws_from_the_given_generator_alone():
    """The same seed gives the same draw, which leaves torch's global generator where it was."""
    p, before = Bernoulli(torch.rand(50, 4)), torch.get_rng_state()
    first, second = (p.sample(torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(p.sample(), p.sample())


@pytest.mark.parametrize(
    ("p", "q", "kl"),
    [
        *[(0.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.3, 0.3, 0.0)],
        *[(0.0, 0.3, -math.log(0.7)), (1.0, 0.3, -math.log(0.3))],
        *[(0.3, 0.0, math.inf), (0.3, 1.0, math.inf), (0.0, 1.0, math.inf), (1.0, 0.0, math.inf)],
    ],
)
def test_kl_of_certain_values_is_infinite_only_where_one_is_excluded(p, q, kl):
    """0 log 0 = 0; every gradient is finite."""
    p, q = (torch.tensor([rate], dtype=torch.float64, requires_grad=True) for rate in (p, q))
    value = Bernoulli(p).kl(Bernoulli(q))
    assert value.item() == pytest.approx(kl, rel=1e-12)
    for gradient in torch.autograd.grad(value, [p, q]):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kl_is_never_nan_and_neither_is_its_gradient(dtype):
    """Over all pairs of rates from 0 to 1; no less than zero, up to rounding."""
    rate = torch.tensor(CERTAIN, dtype=dtype)
    p, q = (r.clone().requires_grad_() for r in torch.meshgrid(rate, rate, indexing="ij"))
    kl = Bernoulli(p).kl(Bernoulli(q))
    assert (kl >= -2 * torch.finfo(dtype).eps).all()
    assert not any(gradient.isnan().any() for gradient in torch.autograd.grad(kl.sum(), [p, q]))


@pytest.mark.parametrize("rare", [1e-3, 1e-8, 1e-15, 1e-30])
def test_both_ends_keep_their_precision_in_float32(rare):
    """A rare 1 and a rare -1 are mirror images, and right to rounding: 1 - rate would be 0 from 1e-8 on."""
    small, other = torch.tensor([rare]), torch.tensor([3 * rare])
    low, high = Bernoulli(small, 1 - small), Bernoulli(1 - small, small)
    low_other, high_other = Bernoulli(other, 1 - other), Bernoulli(1 - other, other)
    assert high.log_prob(torch.tensor([-1.0])).item() == pytest.approx(math.log(rare), rel=1e-6)
    assert high.entropy().item() == pytest.approx(-math.log(rare) * rare, rel=1e-6, abs=1.2 * rare)
    assert torch.equal(low.kl(low_other), high.kl(high_other)) and torch.equal(low.entropy(), high.entropy())
    assert torch.equal(low.mean, -high.mean)
    assert low.kl(low_other).item() == pytest.approx(rare * (2 - math.log(3)), rel=max(1e-5, 3 * rare))
    never = Bernoulli(torch.zeros(1), torch.ones(1))
    assert high.kl(never) == math.inf and never.kl(low).item() == pytest.approx(-math.log1p(-rare), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("gap", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
def test_kl_keeps_its_precision_for_nearly_equal_rates(gap):
    """In float32 its error is a few roundings of p - q, where that of p log(p/q) is one of 1.

    2,000 steps on 20 values would else be off by 1e-3 nats. The rates are such that 1 - rate is exact in float32.
    """
    p = torch.randint(1, 4096, (10_000,)) / 4096
    q = (p * (1 - gap) * 2**23).round() / 2**23
    exact = kl_divergence(Reference(p.double()), Reference(q.double()))
    bound = torch.finfo(torch.float32).eps * (4 * (p - q).abs().double() + exact)
    assert ((Bernoulli(p).kl(Bernoulli(q)).double() - exact).abs() <= bound).all()


def test_log_prob_of_an_excluded_value_is_minus_infinity_with_no_nan_in_its_gradient():
    """A logit of -200 has a sigmoid of zero in float32."""
    logit = torch.tensor([-200.0, 0.0], requires_grad=True)
    log_prob = Bernoulli(logit.sigmoid(), (-logit).sigmoid()).log_prob(torch.ones(2))
    assert log_prob[0] == -math.inf and log_prob[1].item() == pytest.approx(-math.log(2))
    (gradient,) = torch.autograd.grad(log_prob.sum(), logit)
    assert gradient.isfinite().all() and gradient[1].item() == pytest.approx(0.5)
