"""Gaussian against torch.distributions and against double precision."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from lit_diffusion.diffusion import Gaussian


@pytest.fixture
def pair():
    """Two Gaussians over (3, 4), one with a variance per image, and their parameters."""
    mean_p, mean_q = torch.randn(2, 3, 4).double()
    variance_p, variance_q = torch.rand(3, 1).double() + 0.1, torch.rand(3, 4).double() + 0.1
    return (mean_p, variance_p), (mean_q, variance_q)


def normal(mean, variance) -> Normal:
    return Normal(mean, variance.sqrt().expand_as(mean))


def test_kl_log_prob_and_entropy_are_those_of_torch_distributions(pair):
    """With different means and with variances that broadcast."""
    p, q = pair
    x = torch.randn(3, 4).double()
    torch.testing.assert_close(Gaussian(*p).kl(Gaussian(*q)), kl_divergence(normal(*p), normal(*q)))
    torch.testing.assert_close(Gaussian(*q).kl(Gaussian(*p)), kl_divergence(normal(*q), normal(*p)))
    torch.testing.assert_close(Gaussian(*p).log_prob(x), normal(*p).log_prob(x))
    torch.testing.assert_close(Gaussian(*p).entropy().expand(3, 4), normal(*p).entropy())


def test_kl_is_the_expected_difference_of_log_densities(pair):
    """E_p[log p - log q] = KL: the two nodes mean +- sigma integrate a quadratic exactly."""
    p, q = (Gaussian(*parameters) for parameters in pair)
    nodes = [p.rsample(torch.full((3, 4), sign).double()) for sign in (-1.0, 1.0)]
    expected = sum(p.log_prob(x) - q.log_prob(x) for x in nodes) / 2
    torch.testing.assert_close(p.kl(q), expected)


@pytest.mark.parametrize("variance", [1e-6, 1e-4, 0.02, 1.0])
@pytest.mark.parametrize("gap", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
def test_kl_keeps_its_precision_for_nearly_equal_variances(variance, gap):
    """In float32 the error is that of one rounding of the ratio, 2 eps / gap, whatever the variance.

    The difference of two logarithms would lose eps |log variance| / gap^2: all digits at a gap of 1e-3.
    """
    p_variance, q_variance = torch.tensor([variance]), torch.tensor([variance * (1 - gap)])
    kl = Gaussian(torch.zeros(1), p_variance).kl(Gaussian(torch.zeros(1), q_variance))
    excess = ((p_variance.double() - q_variance.double()) / q_variance.double()).item()
    exact = 0.5 * (excess - math.log1p(excess)) if excess > 1e-3 else excess**2 / 4 - excess**3 / 6
    assert abs(kl.item() / exact - 1) < 2 * torch.finfo(torch.float32).eps / gap
    assert kl >= 0


@pytest.mark.parametrize(
    ("p", "q", "kl"),
    [((1, 0), (1, 0), 0), ((1, 0), (2, 0), math.inf), ((1, 0), (1, 1), math.inf), ((1, 1), (1, 0), math.inf)],
    ids=["same point", "different points", "point against density", "density against point"],
)
def test_kl_of_point_masses_is_zero_or_infinite_and_has_a_finite_gradient(p, q, kl):
    """Never NaN: the gradient is zero."""
    p, q = (Gaussian(*(torch.tensor([float(v)], requires_grad=True) for v in parameters)) for parameters in (p, q))
    value = p.kl(q)
    assert value.item() == kl
    for gradient in torch.autograd.grad(value, [p.mean, p.variance, q.mean, q.variance]):
        assert gradient.item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kl_is_never_nan_and_neither_is_its_gradient(dtype):
    """Over variances from zero through the subnormal numbers to large ones, and means near and far.

    A learned variance reaches all of these; the posterior's own lies between 1e-30 and 1, or is zero.
    """
    tiny = torch.finfo(dtype).tiny
    variances = [0.0, tiny / 64, 1e-30, 1e-7, 1 - 1e-7, 1.0]
    for other_variance in [*variances, tiny, 1e4]:
        for variance in variances:
            for mean in (0.0, 1e-8, 3.0, 1e5):
                other = [torch.tensor([v], dtype=dtype, requires_grad=True) for v in (mean, other_variance)]
                p = Gaussian(torch.zeros(1, dtype=dtype), torch.tensor([variance], dtype=dtype))
                kl = p.kl(Gaussian(*other))
                assert kl >= 0
                assert not any(g.isnan().any() for g in torch.autograd.grad(kl.sum(), other))


def test_point_mass_has_all_its_density_at_its_mean():
    """log_prob is inf there and -inf elsewhere; the entropy is -inf; a sample is the mean."""
    point = Gaussian(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 1))
    assert point.log_prob(torch.tensor([[1.0, 1.0]])).tolist() == [[math.inf, -math.inf]]
    assert point.entropy().item() == -math.inf
    assert torch.equal(point.sample(), point.mean)


def test_sample_is_mean_plus_sigma_eps_from_the_given_generator_alone():
    """The same seed gives the same draw, which leaves torch's global generator where it was."""
    p = Gaussian(torch.tensor([[1.0], [-2.0]]), torch.tensor([[4.0], [0.25]]))
    before = torch.get_rng_state()
    draw = p.sample(torch.Generator().manual_seed(5))
    assert torch.equal(torch.get_rng_state(), before)
    eps = torch.randn(2, 1, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(draw, p.mean + torch.tensor([[2.0], [0.5]]) * eps)
    assert not torch.equal(p.sample(), p.sample())
