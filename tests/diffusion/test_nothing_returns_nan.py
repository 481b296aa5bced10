"""Every schedule, length, parameterization, variance, objective and sampler together: finite, or refused by name."""

import pytest
import torch

from lit_diffusion.diffusion import (
    AllTimesteps,
    AncestralSampler,
    BetaVariance,
    BoundWeight,
    CleanImage,
    Constant,
    ConstantSchedule,
    CosineSchedule,
    DDIMSampler,
    DiscretizedGaussian,
    DiscretizedLogistic,
    DPMSolverPlusPlusSampler,
    Epsilon,
    GaussianProcess,
    GaussianReverse,
    HeunSampler,
    Hybrid,
    JSDSchedule,
    LearnedDiagonal,
    LearnedRange,
    LinearSchedule,
    MinSNR,
    PosteriorMean,
    PosteriorVariance,
    QuadraticSchedule,
    RescaledLinearSchedule,
    SigmoidSchedule,
    Simple,
    TanhDiscretizedGaussian,
    VariationalBound,
    Velocity,
    WarmupSchedule,
)
from lit_diffusion.diffusion.bound import variational_bound
from lit_diffusion.errors import ConfigError

SCHEDULES = [
    LinearSchedule,
    RescaledLinearSchedule,
    QuadraticSchedule,
    ConstantSchedule,
    WarmupSchedule,
    JSDSchedule,
    CosineSchedule,
    SigmoidSchedule,
    pytest.param(lambda n: ConstantSchedule(n, 0.0), id="beta = 0"),
    pytest.param(lambda n: ConstantSchedule(n, 1.0), id="beta = 1"),
    pytest.param(lambda n: LinearSchedule(n, 0.0, 0.1), id="beta from 0"),
    pytest.param(lambda n: LinearSchedule(n, 1.0, 0.0), id="beta from 1 to 0"),
    pytest.param(lambda n: LinearSchedule(n, 1e-12, 1e-12), id="beta = 1e-12"),
]
KINDS = [PosteriorMean(), CleanImage(), Epsilon(), Velocity()]
VARIANCES = [BetaVariance(), PosteriorVariance(), LearnedDiagonal(), LearnedRange()]
DECODERS = [DiscretizedGaussian(5), DiscretizedLogistic(5), TanhDiscretizedGaussian(5)]
SAMPLERS = [
    AncestralSampler(),
    AncestralSampler(2),
    DDIMSampler(),
    DDIMSampler(2, eta=0.5),
    DDIMSampler(eta=1.0),
    DPMSolverPlusPlusSampler(),
    DPMSolverPlusPlusSampler(2, eta=0.5),
    HeunSampler(),
]


def objectives():
    """Each way to train, over all steps at once."""
    for weighting in (Constant(), MinSNR(), BoundWeight()):
        yield Simple(AllTimesteps(), weighting)
    for scale in ("per_term", "times_T"):
        yield VariationalBound(AllTimesteps(), scale)
    yield Hybrid(AllTimesteps())


def check(reverse, x_0):
    """Asserts that all that can be computed from `reverse` is finite; returns whether any objective accepts it."""
    accepted, infinite = [], False
    for objective in objectives():
        try:
            objective.bind(reverse)
        except ConfigError as error:
            infinite = infinite or "a finite bound" in str(error)
            continue
        accepted.append(type(objective).__name__)
        reverse.zero_grad()
        loss = objective(reverse, x_0)
        loss.sum().backward()
        assert loss.isfinite().all(), objective
        assert all(p.grad is None or p.grad.isfinite().all() for p in reverse.parameters()), objective
    for sampler in SAMPLERS:
        if not isinstance(sampler.steps, int) or sampler.steps <= reverse.num_steps:
            for step in sampler.chain(reverse, torch.randn_like(x_0)):
                assert step.x_s.isfinite().all() and step.x_0.isfinite().all(), sampler
    bound = variational_bound(reverse, x_0)
    untouched = (reverse.process.schedule.sigma2(reverse.process.schedule.steps()) == 0).all()
    assert (bound.prior_kl.isinf() == untouched).all()  # data that no noise reaches is infinitely far from the prior
    for nats in (bound.total, bound.rate, bound.reconstruction_nll, bound.distortion):
        assert not nats.isnan().any()
        assert infinite or untouched or nats.isfinite().all()
    return accepted, infinite


@pytest.mark.parametrize("num_steps", [1, 2, 10])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_everything_is_finite_or_refused_by_name(schedule, num_steps, small_network):
    """Values, gradients, samples and bound of a bounded network, for all parameterizations, variances and decoders."""
    try:
        process = GaussianProcess(schedule(num_steps))
    except ConfigError as error:
        assert schedule is RescaledLinearSchedule and "every beta of" in str(error)
        return
    x_0 = torch.tensor([-1.0, -0.5, 0.5, 1.0, 0.0, 1.0, -1.0, 0.0]).view(2, 1, 2, 2)
    for kind in KINDS:
        for i, variance in enumerate(VARIANCES):
            try:
                reverse = GaussianReverse(process, small_network, kind, variance, DECODERS[i % 2], channels=1)
            except ConfigError as error:
                assert type(kind) in (PosteriorMean, Epsilon) and type(kind).__name__ in str(error)
                continue
            accepted, infinite = check(reverse, x_0)
            expected = (
                ["VariationalBound"] * 2 + ["Hybrid"] if variance.learned else ["Simple"] * 3 + ["VariationalBound"] * 2
            )
            assert accepted == [name for name in expected if name == "Simple" or not infinite]
