"""Posteriors without retraining, against posteriors that are known."""

import pytest
import torch
from torch import nn

from lit_diffusion.diffusion import (
    AncestralSampler,
    BernoulliReverse,
    BinomialProcess,
    CleanImage,
    DDIMSampler,
    DPMSolverPlusPlusSampler,
    GaussianDensity,
    GaussianProcess,
    GaussianReverse,
    HeunSampler,
    JSDSchedule,
    LinearSchedule,
    PosteriorVariance,
    PreviousBit,
    RescaledLinearSchedule,
)
from lit_diffusion.diffusion.condition import Guided, Known, Observed
from lit_diffusion.diffusion.conditioning import ConditionedReverse, Isotropic, Tweedie
from lit_diffusion.errors import ConfigError

MEAN = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)
ROOT = torch.tensor([[0.7, 0.0, 0.0], [0.4, 0.5, 0.0], [-0.3, 0.2, 0.4]], dtype=torch.float64)
COVARIANCE = ROOT @ ROOT.T
SEEN = torch.tensor([1.0, 0.5, -0.2], dtype=torch.float64)


class ExactDenoiser(nn.Module):
    """E[x_0 | x_t] of data N(MEAN, covariance)."""

    def __init__(self, process: GaussianProcess, covariance: torch.Tensor):
        super().__init__()
        self.schedule, self.covariance = process.schedule, covariance
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x, index):
        t, example = torch.unique(index + 1, return_inverse=True)  # in a chain all are at one step
        kept, sigma2 = self.schedule.alpha_bar(t)[:, None, None], self.schedule.sigma2(t)[:, None, None]
        gain = kept.sqrt() * self.covariance @ torch.linalg.inv(kept * self.covariance + sigma2 * torch.eye(3))
        kept, gain = kept[example], gain[example]
        return MEAN + (gain @ (x.double() - kept[:, 0].sqrt() * MEAN)[..., None])[..., 0]


def exact(covariance: torch.Tensor = COVARIANCE, num_steps: int = 250) -> GaussianReverse:
    process = GaussianProcess(RescaledLinearSchedule(num_steps))
    return GaussianReverse(
        process,
        lambda inputs, outputs: ExactDenoiser(process, covariance),
        CleanImage(),
        PosteriorVariance(),
        GaussianDensity(),
        channels=3,
        clip_x_0=False,
    )


def draws(reverse, count: int = 8_000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    for step in AncestralSampler().chain(reverse, x, generator):
        x = step.x_s
    return x


def assert_moments(x: torch.Tensor, mean: torch.Tensor, covariance: torch.Tensor) -> None:
    """Within five standard errors, and 3% of the covariance for the finite number of steps."""
    assert ((x.mean(0) - mean).abs() < 5 * (covariance.diag() / len(x)).sqrt() + 1e-3).all()
    allowed = 0.03 * COVARIANCE.max() + 5 * (2 / len(x)) ** 0.5 * covariance.max()
    assert (x.T.cov() - covariance).abs().max() < allowed


@pytest.mark.slow
@pytest.mark.parametrize("std", [0.2, 0.7])
def test_a_gaussian_r_gives_the_analytic_posterior(std):
    """Mean and covariance of N(mu, S) N(y; x, std^2 I), with the exact denoiser and Tweedie's covariance."""
    gain = COVARIANCE @ torch.linalg.inv(COVARIANCE + std**2 * torch.eye(3))
    conditioned = ConditionedReverse(exact(), Observed(SEEN, std), Tweedie())
    assert_moments(draws(conditioned), MEAN + gain @ (SEEN - MEAN), COVARIANCE - gain @ COVARIANCE)


@pytest.mark.slow
def test_isotropic_data_need_no_jacobian():
    """For data N(mu, v I) the covariance of p(x_0 | x_t) is known beforehand, and the posterior is again exact."""
    variance, std = 0.4, 0.5
    reverse = exact(variance * torch.eye(3, dtype=torch.float64))
    gain = variance / (variance + std**2)
    x = draws(ConditionedReverse(reverse, Observed(SEEN, std), Isotropic(variance)))
    assert_moments(x, MEAN + gain * (SEEN - MEAN), variance * (1 - gain) * torch.eye(3, dtype=torch.float64))


@pytest.mark.slow
def test_what_is_known_comes_back_bit_by_bit_and_the_rest_is_the_conditional():
    """Inpainting: the other coordinates have mean and covariance of p(x_2, x_3 | x_1)."""
    mask = torch.tensor([True, False, False])
    x = draws(ConditionedReverse(exact(), Known(SEEN, mask), Tweedie()))
    assert (x[:, 0] == SEEN[0]).all()
    gain = COVARIANCE[:, 0] / COVARIANCE[0, 0]
    mean = MEAN + gain * (SEEN[0] - MEAN[0])
    covariance = COVARIANCE - torch.outer(gain, COVARIANCE[0])
    assert_moments(x[:, 1:], mean[1:], covariance[1:, 1:])


@pytest.mark.parametrize(
    "sampler",
    [AncestralSampler(), DDIMSampler(), DDIMSampler(7, eta=0.5), DPMSolverPlusPlusSampler(7), HeunSampler(7)],
    ids=["ancestral", "ddim", "ddim-7-eta-0.5", "dpm", "heun"],
)
@pytest.mark.parametrize("shape", [(2, 4, 4), (5,)])
def test_inpainting_leaves_known_pixels_bit_identical(sampler, shape):
    """Whatever the network, the sampler and the numbers: those of the images, to the last bit."""
    torch.manual_seed(0)
    make = (lambda i, o: Scale()) if len(shape) == 1 else (lambda i, o: Conv(i, o))
    reverse = GaussianReverse(GaussianProcess(LinearSchedule(20)), make, channels=shape[0])
    x_0 = torch.rand(3, *shape) * 2 - 1
    mask = torch.rand(3, *shape) < 0.5
    conditioned = ConditionedReverse(reverse, Known(x_0, mask))
    x = torch.randn(3, *shape)
    for step in sampler.chain(conditioned, x, torch.Generator().manual_seed(0)):
        x = step.x_s
    assert torch.equal(x[mask], x_0[mask]) and not torch.equal(x[~mask], x_0[~mask])


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.3))

    def forward(self, x, index):
        return self.weight * x


class Conv(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x, index):
        return self.layer(x)


def bits(rate: float, parameterization=None) -> BernoulliReverse:
    """A model whose p(x_0 = 1 | x_t) is `rate` whatever x_t."""

    class Constant(Scale):
        def forward(self, x, index):
            return torch.full_like(x, rate).logit() + 0 * self.weight

    process = BinomialProcess(JSDSchedule(10))
    extra = {} if parameterization is None else {"parameterization": parameterization}
    return BernoulliReverse(process, lambda i, o: Constant(), channels=3, **extra)


def test_bernoulli_rates_follow_the_closed_form():
    """c d / (c d + (1 - c) (1 - d)), with c the rate and d = r(1) / (r(1) + r(-1))  (2015, table App.1)."""
    c, x, t = 0.3, torch.ones(2, 3), torch.tensor([4, 9])
    seen = torch.tensor([1.0, -1.0, 1.0])
    d = torch.where(seen > 0, 0.9, 0.1)
    found = ConditionedReverse(bits(c), Observed(seen, flipped=0.1)).predict(x, t).bit.rate
    torch.testing.assert_close(found, (c * d / (c * d + (1 - c) * (1 - d))).expand(2, 3))
    known = ConditionedReverse(bits(c), Known(seen, torch.tensor([True, True, False]))).predict(x, t).bit.rate
    torch.testing.assert_close(known, torch.tensor([1.0, 0.0, c]).expand(2, 3))
    weights = torch.tensor([0.5, -1.0, 0.0])
    guided = Guided(lambda x: (x * weights).sum(1), (3,))
    d = (2 * weights).sigmoid()  # r(x) = exp(w x), so r(1) / (r(1) + r(-1)) = sigmoid(2 w), exactly
    found = ConditionedReverse(bits(c), guided).predict(x, t).bit.rate
    torch.testing.assert_close(found, (c * d / (c * d + (1 - c) * (1 - d))).expand(2, 3))


def test_a_differentiable_r_moves_the_mean_by_covariance_times_gradient():
    """For a Gaussian r much wider than p(x_0 | x_t) the first order is all there is."""
    reverse, wide = exact(), 30.0
    x_t, t = torch.randn(4, 3, dtype=torch.float64), torch.tensor([5, 50, 120, 249])

    def log_r(x: torch.Tensor) -> torch.Tensor:
        return -((x - SEEN) ** 2).sum(1) / (2 * wide**2)

    for covariance in (Tweedie(), Isotropic(0.5)):
        found = ConditionedReverse(reverse, Guided(log_r, (3,)), covariance).predict(x_t, t).x_0
        expected = ConditionedReverse(reverse, Observed(SEEN, wide), covariance).predict(x_t, t).x_0
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        assert (found - reverse.predict(x_t, t).x_0).abs().max() > 1e-5


def test_gradients_are_found_in_inference_mode():
    """`lightning predict` runs in it."""
    with torch.inference_mode():
        x_t, t = torch.randn(2, 3, dtype=torch.float64), torch.tensor([5, 50])
        guided = Guided(lambda x: -(x**2).sum(1), (3,))
        assert ConditionedReverse(exact(), guided, Tweedie()).predict(x_t, t).x_0.isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Known(torch.zeros(3), torch.ones(4)), r"mask: expected the shape of the values, \(3,\), got \(4,\)"),
        (lambda: Observed(torch.zeros(3), std=-1.0), "std: .*, got -1"),
        (lambda: Observed(torch.zeros(3), std=torch.nan), "std: .*, got nan"),
        (lambda: Observed(torch.tensor([0.0, torch.inf])), "expected finite numbers where known"),
        (lambda: Known(torch.tensor([0.0, torch.nan]), torch.ones(2).bool()), "expected finite numbers where known"),
        (
            lambda: Known(torch.tensor([1.0, 0.5]), torch.ones(2).bool()).log_odds(torch.zeros(1, 2)),
            "expected -1 or 1, since the data is binary",
        ),
        (
            lambda: Guided(lambda x: x, (3,)).gaussian(torch.zeros(2, 3), torch.ones(2, 1, 1)),
            r"function with shape \(2,\) for 2 examples, got \(2, 3\)",
        ),
        (lambda: Guided(lambda x: x.sum(1).detach(), (3,)).log_odds(torch.zeros(2, 3)), "without a gradient"),
        (
            lambda: Guided(lambda x: x.sum(1), (4,)).log_odds(torch.zeros(2, 3)),
            r"shape: expected examples of 3 values, got \(4,\)",
        ),
        (lambda: Observed(torch.zeros(3), flipped=0.5), "flipped: .*, got 0.5"),
        (lambda: Isotropic(0.0), "variance: expected a positive number, got 0"),
        (
            lambda: ConditionedReverse(bits(0.5, PreviousBit()), Observed(torch.zeros(3))),
            "predicts x_0, which the condition is about, got PreviousBit",
        ),
        (
            lambda: ConditionedReverse(bits(0.5), Observed(torch.ones(4))).predict(*ONE),
            r"one for each of the examples' 3 values, got shape \(4,\)",
        ),
        (
            lambda: ConditionedReverse(bits(0.5), Guided(lambda x: x.sum(1).log() * 0, (3,))).predict(*MINUS),
            "expected finite values and gradients",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    """A mask or an observation of another shape, an r that is not a number."""
    with pytest.raises(ConfigError, match=message):
        make()


ONE = (torch.ones(2, 3), torch.tensor([4, 9]))
MINUS = (-torch.ones(2, 3), torch.tensor([4, 9]))


class Affine(nn.Module):
    """x_0 = A x_t, without a product that mixed precision would round."""

    def __init__(self):
        super().__init__()
        matrix = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
        self.matrix = nn.Parameter(torch.eye(8) + 0.1 * (matrix + matrix.mT))

    def forward(self, x, index):
        return (self.matrix * x[:, None]).sum(2)


@pytest.mark.parametrize(
    "condition",
    [
        Known(torch.linspace(-1, 1, 8), torch.arange(8) < 3),
        Observed(torch.linspace(-1, 1, 8), 0.3),
        Guided(lambda x: -x.square().sum(1), (8,)),
    ],
    ids=lambda condition: type(condition).__name__,
)
def test_mixed_precision_ends_at_the_network(condition):
    """Covariance and posterior under bf16's autocast are those of float32, to the bit, in values and type."""
    process = GaussianProcess(RescaledLinearSchedule(250))
    reverse = GaussianReverse(process, lambda *_: Affine(), CleanImage(), channels=8, clip_x_0=False)
    x_t, t = torch.linspace(-2, 2, 16).view(2, 8), torch.tensor([100, 200])
    found = {}
    for mixed in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            covariance = Tweedie()(reverse, reverse.predict(x_t, t))
            found[mixed] = covariance, ConditionedReverse(reverse, condition, Tweedie()).predict(x_t, t).x_0
    for full, mixed in zip(found[False], found[True], strict=True):
        assert mixed.dtype == torch.float32 and torch.equal(full, mixed)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_singular_covariance_is_conditioned_on_as_far_as_it_goes(rank):
    """As an inexact denoiser may have: the posterior within its span, as with a span that is nearly full."""
    root = torch.randn(2, 3, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    singular, mean = root @ root.mT, torch.zeros(2, 3, dtype=torch.float64)
    nearly = singular + 1e-7 * torch.eye(3, dtype=torch.float64)
    mask = torch.tensor([True, False, False])
    for condition in (Known(SEEN, mask), Observed(SEEN, std=0.3)):
        ours, theirs = (condition.gaussian(mean, covariance) for covariance in (singular, nearly))
        assert torch.allclose(ours, theirs, atol=1e-4)
    assert Observed(SEEN).gaussian(mean, singular).isfinite().all()
