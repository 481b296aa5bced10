"""The binomial reverse model on data whose exact reverse process is known, its samplers, and data that does not fit."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

from lit_diffusion.diffusion import (
    AncestralSampler,
    BernoulliReverse,
    BinomialProcess,
    CleanBit,
    DDIMSampler,
    DiscretizedGaussian,
    DPMSolverPlusPlusSampler,
    GaussianDensity,
    GaussianProcess,
    GaussianReverse,
    HeunSampler,
    JSDSchedule,
    LinearSchedule,
    PreviousBit,
)
from lit_diffusion.diffusion.distributions import Gaussian
from lit_diffusion.diffusion.schedule import NoiseSchedule
from lit_diffusion.errors import ConfigError

BETAS = [0.1, 0.35, 0.5, 0.6]
KINDS = pytest.mark.parametrize("kind", [CleanBit, PreviousBit], ids=lambda kind: kind.__name__)


def jsd(num_steps):
    return 1 / np.arange(num_steps, 0, -1)


def bits(width):
    """All states of `width` values as 0 and 1, (2^width, width); the row is the state's number."""
    return np.arange(2**width)[:, None] >> np.arange(width) & 1


def states(width):
    return torch.tensor(2.0 * bits(width) - 1, dtype=torch.float64)


def kernel(betas, rate, t, s, width=1):
    """P(x_t = column | x_s = row) over the states by products of single steps, (2^width, 2^width)."""
    drawn = np.array([1 - rate, rate])
    one = functools.reduce(np.matmul, [(1 - b) * np.eye(2) + b * drawn for b in betas[s:t]], np.eye(2))
    return functools.reduce(np.kron, [one] * width)


class Lookup(nn.Module):
    """Logits by step and state, (T, 2^width, width)."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.as_tensor(logits))

    def forward(self, x, index):
        number = ((x > 0) * 2 ** torch.arange(x.shape[1])).sum(1)
        return self.logits[index, number]


def reverse_of(logits, betas, rate, kind=CleanBit):
    schedule = NoiseSchedule(torch.as_tensor(np.asarray(betas, dtype=np.float64)))
    width = np.shape(logits)[-1]
    return BernoulliReverse(BinomialProcess(schedule, rate), lambda *_: Lookup(logits), kind(), channels=width).eval()


def exact(data, betas, rate, t, s):
    """P(each value of x_s is 1 | x_t) by Bayes' rule, (2^width, width) for all x_t, of data with weights (2^width,)."""
    width = len(data).bit_length() - 1
    joint = (data @ kernel(betas, rate, s, 0, width))[:, None] * kernel(betas, rate, t, s, width)  # (x_s, x_t)
    return (joint / joint.sum(0)).T @ bits(width)


def exact_reverse(data, betas, rate, kind=CleanBit):
    """The reverse model whose network is right about every single value, for the data's weights (2^width,)."""
    steps = range(1, len(betas) + 1)
    rates = np.array([exact(data, betas, rate, t, 0 if kind is CleanBit else t - 1) for t in steps])
    with np.errstate(divide="ignore"):
        return reverse_of(np.log(rates) - np.log1p(-rates), betas, rate, kind)


def matrix(reverse, t, s):
    """P(x_s = column | x_t = row) of the model over all states."""
    x = states(reverse.channels)
    t, s = (torch.full((len(x),), step) for step in (t, s))
    p = reverse.predict(x, t).transition(s)
    log_prob = [p.log_prob(x_s.expand_as(x)).sum(1) for x_s in x]
    return torch.stack(log_prob, dim=1).exp().detach().numpy()


def sampled(reverse, chain):
    """The distribution over states that a chain over ascending steps ends in, without sampling noise."""
    drawn = np.array([1 - reverse.process.rate, reverse.process.rate])
    p = functools.reduce(np.kron, [drawn] * reverse.channels)
    for t, s in zip(chain[::-1], [*chain[-2::-1], 0]):
        p = p @ matrix(reverse, t, s)
    return p


def frequencies(x):
    number = ((x > 0) * 2 ** torch.arange(x.shape[1])).sum(1)
    return np.bincount(number.numpy(), minlength=2 ** x.shape[1]) / len(x)


def within_sampling_error(found, expected, n, errors=5):
    return (np.abs(found - expected) <= errors * np.sqrt(expected * (1 - expected) / n)).all()


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


TWO_POINTS = np.array([0, 0, 0.3, 0, 0, 0.7, 0, 0])  # (-1, 1, -1) and (1, -1, 1)


@pytest.mark.parametrize("rate", [0.2, 0.5])
@pytest.mark.parametrize(
    ("kind", "chain"), [(PreviousBit, [1, 2, 3, 4, 5]), *[(CleanBit, c) for c in ([1, 2, 3, 4, 5], [1, 3, 5], [5])]]
)
def test_exact_reverse_process_of_one_bit_reproduces_its_distribution(kind, chain, rate):
    """Enumerated; over any subset of the steps, because with one bit p(x_s|x_t) is exact for all s < t."""
    data = np.array([0.9, 0.1])
    np.testing.assert_allclose(sampled(exact_reverse(data, jsd(5), rate, kind), chain), data, rtol=1e-6)


@KINDS
def test_exact_reverse_process_of_two_points_of_three_bits_reproduces_them_as_steps_get_small(kind):
    """A step draws the bits apart, which the two points tie together: what goes wrong is of order 1/T."""
    wrong = []
    for num_steps in (100, 200, 400):
        reverse = exact_reverse(TWO_POINTS, jsd(num_steps), 0.2, kind)
        wrong.append(np.abs(sampled(reverse, range(1, num_steps + 1)) - TWO_POINTS).sum() / 2)
    assert wrong[-1] < 0.02
    np.testing.assert_allclose(np.array(wrong[:-1]) / wrong[1:], 2, rtol=0.15)


def test_samples_of_two_points_are_the_two_points():
    """T = 400, 10,000 samples: the points' shares within five standard errors and the enumerated error."""
    reverse, n = exact_reverse(TWO_POINTS, jsd(400), 0.2), 10_000
    x = AncestralSampler()(reverse, (n, 3), generator())
    found, expected = frequencies(x), sampled(reverse, range(1, 401))
    assert within_sampling_error(found, expected, n)
    assert np.abs(found - TWO_POINTS).max() < 0.02


@pytest.mark.parametrize(("t", "s"), [(t, s) for t in range(1, 5) for s in range(t)])
def test_clean_bit_with_exact_rates_is_bayes_rule_for_every_bit(t, s):
    """p(x_s|x_t) of tied bits, for any s < t: each has the rate of the enumerated joint distribution."""
    data = np.random.default_rng(0).dirichlet(np.ones(8))
    p = exact_reverse(data, BETAS, 0.2).predict(states(3), torch.full((8,), t)).transition(torch.full((8,), s))
    np.testing.assert_allclose(p.rate.detach().numpy(), exact(data, BETAS, 0.2, t, s), rtol=1e-9)
    np.testing.assert_allclose((p.rate + p.complement).detach().numpy(), 1, rtol=1e-12)


def test_both_parameterizations_give_the_same_transitions_where_their_rates_correspond():
    """Of any network: the logit of CleanBit's rate of x_{t-1} is what PreviousBit's network has to say."""
    logits = torch.randn(4, 4, 2, dtype=torch.float64)
    clean, x = reverse_of(logits, BETAS, 0.3), states(2)
    steps = [torch.full((4,), t) for t in range(1, 5)]
    of_clean = [clean.predict(x, t).transition(t - 1) for t in steps]
    previous = reverse_of(torch.stack([p.rate.logit().detach() for p in of_clean]), BETAS, 0.3, PreviousBit)
    for t, p in zip(steps, of_clean):
        q = previous.predict(x, t).transition(t - 1)
        torch.testing.assert_close(q.rate, p.rate)
        torch.testing.assert_close(q.complement, p.complement)


@pytest.mark.parametrize("steps", [None, 2, 1, [1, 3, 4], [2, 3]], ids=str)
def test_ancestral_sampler_draws_from_the_model_s_own_chain(steps):
    """20,000 samples of a random network against the product of its transition matrices, over any subset."""
    reverse, n = reverse_of(torch.randn(4, 4, 2, dtype=torch.float64), BETAS, 0.3), 20_000
    chain = {None: [1, 2, 3, 4], 2: [1, 4], 1: [4]}.get(steps, steps) if not isinstance(steps, list) else steps
    x = AncestralSampler(steps)(reverse, (n, 2), generator())
    assert set(x.unique().tolist()) == {-1.0, 1.0} and x.dtype == torch.float32
    assert within_sampling_error(frequencies(x), sampled(reverse, chain), n)


@KINDS
def test_every_step_of_a_chain_is_binary_and_the_same_generator_draws_it_again(kind):
    """Torch's global generator does not move; the progressive estimate is a mean, within [-1, 1]."""
    reverse, before = reverse_of(torch.randn(4, 4, 2), BETAS, 0.3, kind), torch.get_rng_state()
    x_T = reverse.process.prior((50, 2)).sample(generator(1))  # noqa: N806
    first, second = (list(AncestralSampler().chain(reverse, x_T, generator())) for _ in range(2))
    assert [(step.t, step.s) for step in first] == [(4, 3), (3, 2), (2, 1), (1, 0)]
    for a, b in zip(first, second):
        assert torch.equal(a.x_s, b.x_s) and (a.x_s.abs() == 1).all() and (a.x_0.abs() <= 1).all()
    assert torch.equal(torch.get_rng_state(), before)


def test_previous_bit_refuses_chains_that_leave_out_steps():
    """In one line that names what to write; all the steps are fine, also given as their number."""
    reverse = reverse_of(torch.randn(4, 4, 2), BETAS, 0.3, PreviousBit)
    for steps in (2, 1, [1, 3, 4], [2, 3]):
        with pytest.raises(ConfigError, match="PreviousBit") as error:
            AncestralSampler(steps)(reverse, (1, 2))
        assert "CleanBit" in str(error.value) and "\n" not in str(error.value)
        with pytest.raises(
            ConfigError, match="^expected all T steps for PreviousBit, got a chain that skips some; set steps: null"
        ):
            AncestralSampler(steps).check_model(reverse)  # before anything is drawn
    AncestralSampler(4).check_model(reverse)
    AncestralSampler().check_model(reverse)
    assert AncestralSampler(4)(reverse, (3, 2)).shape == (3, 2)


@pytest.mark.parametrize("make", [DDIMSampler, DPMSolverPlusPlusSampler, HeunSampler])
def test_solvers_refuse_binary_noise(make):
    """Before it starts; the ancestral sampler takes it."""
    reverse = reverse_of(torch.randn(4, 4, 2), BETAS, 0.3)
    with pytest.raises(ConfigError, match="BernoulliReverse") as error:
        make().check_model(reverse)
    assert "AncestralSampler" in str(error.value) and "\n" not in str(error.value)
    AncestralSampler().check_model(reverse)


@pytest.mark.parametrize("levels", [17, None])
def test_data_of_other_levels_is_refused_in_one_line(levels):
    """Grey images and real values; two levels are taken."""
    reverse = reverse_of(torch.randn(4, 4, 2), BETAS, 0.3)
    with pytest.raises(ConfigError, match="real values" if levels is None else "17 levels") as error:
        reverse.check((2,), levels)
    assert error.value.key == "model.reverse" and "\n" not in str(error.value)
    reverse.check((2,), 2)


def test_data_or_a_network_of_other_channels_is_refused_in_one_line():
    """Vectors of another length, and a network that answers for another length."""
    with pytest.raises(ConfigError, match="the data's 3 channels, got 2") as error:
        reverse_of(torch.randn(4, 4, 2), BETAS, 0.3).check((3,), 2)
    assert error.value.key == "model.reverse.channels" and "\n" not in str(error.value)
    other = BernoulliReverse(BinomialProcess(JSDSchedule(4)), lambda i, o: Lookup(torch.randn(4, 4, 3)), channels=2)
    with pytest.raises(ConfigError, match="expected 2 output channels, .*, got 3") as error:
        other.check((2,), 2)
    assert error.value.key == "model.reverse.network" and "\n" not in str(error.value)


def test_real_values_need_a_density_and_no_clipping(small_network):
    """The decoder of levels refuses real values, the density refuses levels, and real values are never clipped."""

    def check(decoder, levels, clip_x_0):
        process = GaussianProcess(LinearSchedule(3))
        GaussianReverse(process, small_network, decoder=decoder, clip_x_0=clip_x_0).check((3, 4, 4), levels)

    for decoder, levels, clip_x_0, key, words in [
        (DiscretizedGaussian(), None, False, "model.reverse.decoder", "use GaussianDensity"),
        (GaussianDensity(), 256, False, "model.reverse.decoder.num_levels", "set num_levels: 256"),
        (GaussianDensity(), None, True, "model.reverse.clip_x_0", "set clip_x_0: false"),
    ]:
        with pytest.raises(ConfigError, match=words) as error:
            check(decoder, levels, clip_x_0)
        assert error.value.key == key and "\n" not in str(error.value)
    check(GaussianDensity(), None, False)


def test_the_density_s_nll_is_minus_log_prob():
    """Per value in nats, as torch.distributions has it: negative where the density exceeds 1."""
    mean, variance, x = torch.randn(4, 3).double(), torch.rand(4, 1).double() / 10 + 1e-3, torch.randn(4, 3).double()
    nll = GaussianDensity().nll(x, Gaussian(mean, variance))
    torch.testing.assert_close(nll, -torch.distributions.Normal(mean, variance.sqrt()).log_prob(x))
    assert (GaussianDensity().nll(mean, Gaussian(mean, variance)) < 0).all()
