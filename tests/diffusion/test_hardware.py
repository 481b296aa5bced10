"""What compilers and GPUs ask of the mathematics: one graph, and nothing that waits for the device."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lit_diffusion.diffusion import (
    AllTimesteps,
    AncestralSampler,
    Attractor,
    BernoulliReverse,
    BetaVariance,
    BinomialProcess,
    BoundWeight,
    CleanBit,
    CleanImage,
    DDIMSampler,
    DiscretizedGaussian,
    DPMSolverPlusPlusSampler,
    Epsilon,
    GaussianDensity,
    GaussianProcess,
    GaussianReverse,
    HeunSampler,
    Hybrid,
    ImportanceSampled,
    JSDSchedule,
    LearnedDiagonal,
    LearnedRange,
    LearnedSchedule,
    LinearSchedule,
    LowDiscrepancy,
    MinSNR,
    PosteriorMean,
    PosteriorVariance,
    PreviousBit,
    SigmoidVariance,
    Simple,
    TanhDiscretizedGaussian,
    VariationalBound,
    Velocity,
)
from lit_diffusion.errors import ConfigError

T = 20


class Network(nn.Module):
    """Little time to compile."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.conv(x) * (t[:, None, None, None] + 1)


def gaussian(parameterization, variance, decoder=DiscretizedGaussian(), schedule=LinearSchedule):
    process = GaussianProcess(schedule(T))
    return GaussianReverse(process, Network, parameterization, variance, decoder, 1, decoder.num_levels is not None)


def bernoulli(parameterization):
    return BernoulliReverse(BinomialProcess(JSDSchedule(T)), Network, parameterization, channels=1)


MODELS = {
    "eps": lambda: gaussian(Epsilon(), BetaVariance()),
    "mean": lambda: gaussian(PosteriorMean(), PosteriorVariance()),
    "x_0": lambda: gaussian(CleanImage(), BetaVariance(), TanhDiscretizedGaussian()),
    "v": lambda: gaussian(Velocity(), BetaVariance()),
    "attractor": lambda: gaussian(Attractor(), SigmoidVariance()),
    "diagonal": lambda: gaussian(Epsilon(), LearnedDiagonal()),
    "range": lambda: gaussian(Epsilon(), LearnedRange()),
    "density": lambda: gaussian(Epsilon(), BetaVariance(), GaussianDensity()),
    "learned schedule": lambda: gaussian(
        Epsilon(), BetaVariance(), schedule=lambda steps: LearnedSchedule(LinearSchedule(steps))
    ),
    "bit": lambda: bernoulli(CleanBit()),
    "previous bit": lambda: bernoulli(PreviousBit()),
}
OBJECTIVES = {
    "bound": VariationalBound,
    "simple": Simple,
    "MinSNR": lambda: Simple(weighting=MinSNR()),
    "BoundWeight": lambda: Simple(weighting=BoundWeight()),
    "hybrid": Hybrid,
    "times T": lambda: VariationalBound(scale="times_T"),
    "frozen": lambda: VariationalBound(frozen_noise=True),
    "low discrepancy": lambda: Simple(LowDiscrepancy()),
    "importance": lambda: VariationalBound(ImportanceSampled(history=2)),
    "all steps": lambda: VariationalBound(AllTimesteps()),
}
SAMPLERS = {
    "ancestral": AncestralSampler(),
    "DDIM": DDIMSampler(),
    "DDIM, eta 0.5": DDIMSampler(eta=0.5),
    "DPM-Solver++": DPMSolverPlusPlusSampler(),
    "DPM-Solver++, eta 0.5": DPMSolverPlusPlusSampler(eta=0.5),
    "Heun": HeunSampler(),
}
PAIRS = [*itertools.product(MODELS, ["bound"]), *itertools.product(["eps", "range"], OBJECTIVES)]


def built(model: str, objective: str):
    """The pair, or skips one that does not fit."""
    torch.manual_seed(0)
    reverse, loss = MODELS[model](), OBJECTIVES[objective]()
    try:
        loss.bind(reverse)
    except ConfigError:
        pytest.skip("refused")
    return reverse, loss


@pytest.mark.parametrize(("model", "objective"), dict.fromkeys(PAIRS))
def test_an_objective_is_one_graph(model, objective):
    """Draws aside, which are seeded at every step; equal values."""
    reverse, loss = built(model, objective)
    torch._dynamo.reset()
    x_0 = torch.randint(0, 2, (3, 1, 4, 4)).float() * 2 - 1
    drawn = loss.draw(reverse, x_0)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(reverse, x_0, drawn), loss(reverse, x_0, drawn))


@pytest.mark.parametrize(
    ("model", "sampler"), [*itertools.product(["eps", "range"], SAMPLERS), ("bit", "ancestral"), ("v", "DDIM")]
)
def test_a_step_of_a_sampler_is_one_graph(model, sampler):
    torch.manual_seed(0)
    torch._dynamo.reset()
    reverse = MODELS[model]()

    @torch.no_grad()
    def step(x_t: Tensor, t: Tensor, s: Tensor, base: Tensor) -> tuple[Tensor, ...]:
        before = reverse.predict(x_t, t + 4, clip=True)
        prediction = reverse.predict(x_t, t, clip=True)
        first, p = (SAMPLERS[sampler].step(reverse, prediction, s, one) for one in (None, before))
        return first.rsample(base), p.rsample(base), prediction.x_0

    arguments = torch.randn(3, 1, 4, 4), torch.full((3,), 9), torch.full((3,), 5), torch.rand(3, 1, 4, 4)
    compiled = torch.compile(step, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*arguments), step(*arguments))


class Waits(TorchDispatchMode):
    """Raises where a tensor moves between devices. Tensors on "meta" have no values: to ask for one raises."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        before, after = (
            {one.device.type for one in tree_leaves(part) if isinstance(one, Tensor) and one.ndim}
            for part in ((args, kwargs), result)
        )
        if before and after - before:
            raise AssertionError(f"{operation} copies from {before} to {after}")
        return result


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("model", MODELS)
def test_no_objective_waits_for_the_device(model, objective):
    """From the second step on, when the schedule's table is there: losses, gradients and the memory of losses."""
    reverse, loss = (one.to("meta") for one in built(model, objective))
    x_0 = torch.ones(3, 1, 4, 4, device="meta")
    loss(reverse, x_0)
    with Waits():
        loss(reverse, x_0).mean().backward()
        nn.utils.clip_grad_norm_(reverse.parameters(), 1.0)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("model", MODELS)
def test_no_chain_waits_for_the_device(model, sampler):
    reverse = MODELS[model]().to("meta")
    if SAMPLERS[sampler].needs_eps and not reverse.has_eps:
        pytest.skip("no eps")
    x = torch.ones(3, 1, 4, 4, device="meta")
    for _ in SAMPLERS[sampler].chain(reverse, x):
        break
    with Waits():
        assert [step.s for step in SAMPLERS[sampler].chain(reverse, x)] == [*range(T - 1, -1, -1)]


def test_a_wait_would_be_found():
    x = torch.ones(3, device="meta")
    for waiting in (lambda: x.sum().item(), lambda: x[x > 0], lambda: bool((x == 1).all())):
        with Waits(), pytest.raises((RuntimeError, NotImplementedError)):
            waiting()
    with Waits(), pytest.raises(AssertionError, match="copies from"):
        torch.arange(3.0).to("meta")
