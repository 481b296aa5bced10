"""Labels and classifier-free guidance, held against two Gaussian classes whose scores are closed forms.

MOMENT_SAMPLES sets how many samples have the moments of the distribution; the error allowed shrinks with its root:
MOMENT_SAMPLES=100000 python -m pytest tests/diffusion/test_guidance.py -k moments
"""

import math
import os

import pytest
import torch
from torch import Tensor, nn

from lit_diffusion.diffusion import (
    AllTimesteps,
    AncestralSampler,
    BernoulliReverse,
    BinomialProcess,
    CleanImage,
    DDIMSampler,
    DPMSolverPlusPlusSampler,
    Epsilon,
    GaussianDensity,
    GaussianProcess,
    GaussianReverse,
    HeunSampler,
    JSDSchedule,
    LinearSchedule,
    PosteriorMean,
    Simple,
    VariationalBound,
    Velocity,
)
from lit_diffusion.diffusion.bound_estimate import BoundSums, cut_strata
from lit_diffusion.diffusion.condition import Known
from lit_diffusion.diffusion.conditioning import ClassifierGuidedReverse, ConditionedReverse
from lit_diffusion.errors import ConfigError
from lit_diffusion.nn import VectorMLP

MEAN = torch.tensor([[1.0, -0.5], [-1.5, 1.0]], dtype=torch.float64)  # of the classes
VARIANCE = torch.tensor([[0.3, 0.8], [0.6, 0.2]], dtype=torch.float64)
SHARE = torch.tensor([0.25, 0.75], dtype=torch.float64)
COUNT = int(os.environ.get("MOMENT_SAMPLES", 20_000))
PARAMETERIZATIONS = (Epsilon, CleanImage, Velocity, PosteriorMean)


class Exact(nn.Module):
    """The exact output of a network, from the score of q(x_t | label), or of q(x_t) without a label."""

    num_classes, label_dropout = 2, 0.1

    def __init__(self, process: GaussianProcess, parameterization: type):
        super().__init__()
        self.process, self.parameterization = process, parameterization()
        self.anchor = nn.Parameter(torch.zeros(()))

    def score(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        x = x.double()
        alpha_bar, sigma2 = (f(t)[:, None] for f in (self.process.schedule.alpha_bar, self.process.schedule.sigma2))
        mean = alpha_bar.sqrt()[..., None] * MEAN  # (B, 2 classes, D)
        variance = alpha_bar[..., None] * VARIANCE + sigma2[..., None]
        scores = (mean - x[:, None]) / variance
        log_p = -((x[:, None] - mean) ** 2 / variance + variance.log()).sum(2) / 2 + SHARE.log()
        posterior = log_p.softmax(1)  # of the class
        given = nn.functional.one_hot(label.clamp(min=0), 2).double()
        weight = torch.where(label[:, None] < 0, posterior, given)
        return (weight[..., None] * scores).sum(1)

    def forward(self, x: Tensor, index: Tensor, label: Tensor | None = None) -> Tensor:
        t = index + 1
        label = torch.full_like(t, -1) if label is None else label
        sigma2 = self.process.schedule.sigma2(t)[:, None]
        eps = -sigma2.sqrt() * self.score(x, t, label)
        alpha_bar = self.process.schedule.alpha_bar(t)[:, None]
        x_0 = (x.double() - sigma2.sqrt() * eps) / alpha_bar.sqrt()
        c_0, c_t, _ = (c[:, None] for c in self.process.posterior_coefficients(t, t - 1))
        outputs = {
            Epsilon: eps,
            CleanImage: x_0,
            Velocity: alpha_bar.sqrt() * eps - sigma2.sqrt() * x_0,
            PosteriorMean: c_0 * x_0 + c_t * x.double(),
        }
        return outputs[type(self.parameterization)].to(x)


def exact(parameterization: type = Epsilon, num_steps: int = 100) -> GaussianReverse:
    process = GaussianProcess(LinearSchedule(num_steps, 0.1 / num_steps, min(20 / num_steps, 0.9)))
    return GaussianReverse(
        process, lambda i, o: Exact(process, parameterization), parameterization(), decoder=GaussianDensity(),
        channels=2, clip_x_0=False,
    )  # fmt: skip


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
@pytest.mark.parametrize("scale", [-1.0, 0.0, 0.5, 3.0])
def test_guidance_multiplies_the_scores_as_theory_says(parameterization, scale):
    """(1 + w) grad log q(x_t | c) - w grad log q(x_t), whatever the network predicts; w = -1 knows no label."""
    reverse = exact(parameterization)
    torch.manual_seed(0)
    x, t, label = torch.randn(6, 2).double(), torch.tensor([1, 5, 20, 50, 90, 100]), torch.tensor([0, 1] * 3)
    score = reverse.network.score
    expected = (1 + scale) * score(x, t, label) - scale * score(x, t, torch.full_like(label, -1))
    predicted = reverse.given(label).guided(scale).predict(x, t)
    sigma = reverse.process.schedule.sigma2(t).sqrt()[:, None]
    torch.testing.assert_close(-predicted.eps / sigma, expected, rtol=1e-6, atol=1e-6)


def assert_moments(x: Tensor, mean: Tensor, covariance: Tensor) -> None:
    """Within five standard errors, and what 150 steps leave: 0.005 of the mean, 4% of the variances."""
    variance = covariance.diag()
    assert ((x.mean(0) - mean).abs() < 5 * (variance / len(x)).sqrt() + 0.005).all()
    scale = variance.sqrt()[:, None] * variance.sqrt()
    assert ((x.T.cov() - covariance).abs() < (0.04 + 5 * math.sqrt(2 / len(x))) * scale).all()


def test_samples_given_a_label_have_the_moments_of_their_class():
    label = torch.arange(2).repeat_interleave(COUNT // 2)
    model = exact(num_steps=150).given(label)
    x = AncestralSampler()(model, (COUNT, 2), torch.Generator().manual_seed(0)).double()
    for c in range(2):
        assert_moments(x[label == c], MEAN[c], VARIANCE[c].diag())


def test_without_a_label_samples_have_the_moments_of_all_classes():
    x = AncestralSampler()(exact(num_steps=150).given(None), (COUNT, 2), torch.Generator().manual_seed(0)).double()
    mean = SHARE @ MEAN
    assert_moments(x, mean, (SHARE @ VARIANCE).diag() + (SHARE * MEAN.T) @ MEAN - mean[:, None] * mean)


@pytest.mark.parametrize("objective", [Simple(AllTimesteps()), VariationalBound(AllTimesteps())])
def test_a_loss_of_several_steps_gives_every_step_the_label_of_its_image(objective):
    reverse = exact(num_steps=7)
    objective.bind(reverse)
    torch.manual_seed(0)
    x_0, label = torch.randn(5, 2), torch.tensor([0, 1, 1, 0, 1])
    draw, base = objective.draw(reverse, x_0)
    together = objective(reverse.given(label), x_0, (draw, base))
    apart = [
        objective(reverse.given(label[i : i + 1]), x_0[i : i + 1], (draw[i : i + 1], base[i : i + 1])) for i in range(5)
    ]
    torch.testing.assert_close(together, torch.cat(apart))
    assert not torch.allclose(together, objective(reverse.given(1 - label), x_0, (draw, base)))


def test_the_bound_given_the_label_is_the_entropy_of_the_class():
    """Within the error of the estimate; given the wrong label it is far above."""
    reverse = exact(num_steps=1000)
    torch.manual_seed(0)
    label = torch.arange(2).repeat(500)
    x_0 = (MEAN[label] + VARIANCE[label].sqrt() * torch.randn(1000, 2).double()).float()
    first = cut_strata(reverse.process.schedule, 20)
    nll = ((x_0 - MEAN[label]) ** 2 / VARIANCE[label] + (2 * math.pi * VARIANCE[label]).log()).sum(1) / 2
    gaps = []
    for given in (label, 1 - label):
        sums = BoundSums(first, 1000, torch.device("cpu"))
        sums.add(reverse.given(given), x_0, range(20_000), torch.Generator().manual_seed(0))
        gaps.append(sums.images.sum(1) - nll / math.log(2) / 2)  # of each image in bits/dim
    error = gaps[0].std() / math.sqrt(1000)
    assert error < 0.03 and gaps[0].mean().abs() < 3 * error
    assert gaps[1].mean() > 50 * error


def test_a_condition_holds_under_guidance():
    """Guidance acts on p(x_0 | x_t) before the condition is multiplied to it."""
    reverse, label = exact(), torch.tensor([0, 1])
    x, t = torch.randn(2, 2), torch.tensor([40, 60])
    known = Known(torch.zeros(2, 2), torch.tensor([[True, False]] * 2))
    one = ConditionedReverse(reverse.given(label), known).guided(2.0).predict(x, t).x_0
    other = ConditionedReverse(reverse.given(label).guided(2.0), known).predict(x, t).x_0
    assert torch.equal(one, other)
    assert not torch.equal(one, ConditionedReverse(reverse.given(label), known).predict(x, t).x_0)


@pytest.mark.parametrize("kind", [AncestralSampler, DDIMSampler, DPMSolverPlusPlusSampler, HeunSampler])
def test_every_sampler_draws_from_the_guided_model(kind):
    """With guidance_scale w it is the sampler without, on the guided model; twice the evaluations."""
    reverse, label = exact(), torch.tensor([0, 1, 1])
    guided, plain = kind(steps=8, guidance_scale=2.0), kind(steps=8)
    one, other = (
        sampler(model, (3, 2), torch.Generator().manual_seed(0))
        for sampler, model in ((guided, reverse.given(label)), (plain, reverse.given(label).guided(2.0)))
    )
    assert torch.equal(one, other)
    assert not torch.allclose(one, plain(reverse.given(label), (3, 2), torch.Generator().manual_seed(0)))
    schedule = reverse.process.schedule
    assert guided.nfe(schedule) == 2 * plain.nfe(schedule)


@pytest.mark.parametrize("sampler", [AncestralSampler(), DDIMSampler()])
def test_an_exact_classifier_guides_to_the_moments_of_the_class(sampler):
    """Bayes' rule: the model of all classes times p(class | x_t) is that of the class, by its score and its samples."""
    reverse = exact(num_steps=150)
    network = reverse.network

    def log_r(x, t):  # log p(class 1 | x_t)
        schedule = reverse.process.schedule
        sigma2, alpha_bar = (f(t)[:, None] for f in (schedule.sigma2, schedule.alpha_bar))
        variance = alpha_bar[..., None] * VARIANCE + sigma2[..., None]
        offset = x.double()[:, None] - alpha_bar.sqrt()[..., None] * MEAN
        return (-(offset**2 / variance + variance.log()).sum(2) / 2 + SHARE.log()).log_softmax(1)[:, 1]

    x, t = torch.randn(5, 2), torch.tensor([1, 10, 50, 100, 150])
    guided = ClassifierGuidedReverse(reverse.given(None), log_r)
    sigma = reverse.process.schedule.sigma2(t).sqrt()[:, None]
    expected = network.score(x, t, torch.ones(5, dtype=torch.long))
    torch.testing.assert_close(-guided.predict(x, t).eps / sigma, expected, rtol=1e-3, atol=1e-4)
    assert_moments(sampler(guided, (COUNT, 2), torch.Generator().manual_seed(0)).double(), MEAN[1], VARIANCE[1].diag())


def test_bits_have_no_classifier_of_noisy_values():
    process = BinomialProcess(JSDSchedule(10))
    reverse = BernoulliReverse(process, lambda i, o: VectorMLP(i, o, width=4), channels=2)
    with pytest.raises(ConfigError, match="expected a model with Gaussian noise, .* got BernoulliReverse"):
        ClassifierGuidedReverse(reverse, lambda x, t: x.sum(1))


@pytest.mark.parametrize(
    ("options", "scale", "message"),
    [
        ({}, 2.0, "guidance_scale: expected 0 for a model without labels, got 2"),
        ({"num_classes": 2, "label_dropout": 0.0}, 2.0, "expected 0 for a model trained without label_dropout, got 2"),
        ({"num_classes": 2}, -1.5, r"expected a finite number, -1 \(the model without labels\) or more, got -1.5"),
    ],
)
def test_models_that_cannot_be_guided_say_what_to_do(options, scale, message):
    process = GaussianProcess(LinearSchedule(10))
    reverse = GaussianReverse(process, lambda i, o: VectorMLP(i, o, width=4, **options), channels=2)
    assert reverse.guided(0.0) is reverse
    with pytest.raises(ConfigError, match=message):
        AncestralSampler(guidance_scale=scale).check_model(reverse)


def test_a_model_without_labels_ignores_them():
    reverse = GaussianReverse(GaussianProcess(LinearSchedule(10)), lambda i, o: VectorMLP(i, o, width=4), channels=2)
    assert reverse.given(torch.tensor([1, 2])) is reverse and reverse.select(torch.tensor([0])) is reverse
