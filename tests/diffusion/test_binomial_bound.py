"""The binomial bound and objectives against sums over all trajectories."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from lit_diffusion.diffusion import (
    AllTimesteps,
    BernoulliReverse,
    BinomialProcess,
    BoundWeight,
    CleanBit,
    Hybrid,
    MinSNR,
    PreviousBit,
    Simple,
    VariationalBound,
)
from lit_diffusion.diffusion.bound import bits_per_dim, bound_term, prior_kl, variational_bound
from lit_diffusion.diffusion.bound_estimate import BoundSums, cut_strata, estimate
from lit_diffusion.diffusion.schedule import NoiseSchedule
from lit_diffusion.diffusion.timesteps import Draw
from lit_diffusion.errors import ConfigError

WIDTH, RATE = 2, 0.25  # 0.25 is exact in float32, which the prior is of
BITS = np.arange(4)[:, None] >> np.arange(WIDTH) & 1  # all states, (4, WIDTH)
STATES = torch.tensor(2.0 * BITS - 1, dtype=torch.float64)
SCHEDULES = {
    "three steps": [0.2, 0.5, 0.4],
    "jsd": [1 / 4, 1 / 3, 1 / 2, 1],
    "one in the middle": [0.3, 1, 0.5],
    "zero first": [0, 0, 0.6],
}
EVERY = pytest.mark.parametrize("name", SCHEDULES)
KINDS = pytest.mark.parametrize("kind", [CleanBit, PreviousBit], ids=lambda kind: kind.__name__)


def kernel(betas, t, s):
    """P(x_t = column | x_s = row) of one value by products of single steps, (2, 2)."""
    drawn = np.array([1 - RATE, RATE])
    return functools.reduce(np.matmul, [(1 - b) * np.eye(2) + b * drawn for b in betas[s:t]], np.eye(2))


class Lookup(nn.Module):
    """Logits by step and state, (T, 4, WIDTH)."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.as_tensor(logits))

    def forward(self, x, index):
        return self.logits[index, ((x > 0) * 2 ** torch.arange(WIDTH)).sum(1)]


def reverse_of(logits, betas, kind):
    schedule = NoiseSchedule(torch.tensor(betas, dtype=torch.float64))
    return BernoulliReverse(BinomialProcess(schedule, RATE), lambda *_: Lookup(logits), kind(), channels=WIDTH).eval()


@pytest.fixture
def model():
    """Returns betas, logits and the model of a random network."""

    def make(name, kind):
        betas = SCHEDULES[name]
        logits = torch.randn(len(betas), 4, WIDTH, dtype=torch.float64)
        return betas, logits.numpy(), reverse_of(logits, betas, kind)

    return make


def previous_rates(logits, betas, kind, t):
    """P(each value of x_{t-1} is 1 | x_t) for every state x_t, (4, WIDTH), from the logits by Bayes' rule."""
    rate = 1 / (1 + np.exp(-logits[t - 1]))
    if kind is PreviousBit:
        return rate
    before, step, now = kernel(betas, t - 1, 0), kernel(betas, t, t - 1), kernel(betas, t, 0)
    joint = before[:, 1, None] * step[1]  # of x_{t-1} = 1 and x_t, given x_0: (2, 2)
    of_one = np.where(now > 0, joint / np.where(now > 0, now, 1), np.arange(2))[:, BITS]  # (2, 4, WIDTH)
    return (1 - rate) * of_one[0] + rate * of_one[1]


def enumerated(logits, betas, kind):
    """E_q[log q(x_1..T|x_0) - log p(x_0..T)] and -log p(x_0) in nats, (4,) each, from all trajectories one by one."""
    num_steps = len(betas)
    q = [np.kron(kernel(betas, t, t - 1), kernel(betas, t, t - 1)) for t in range(1, num_steps + 1)]
    p = []
    for t in range(1, num_steps + 1):
        rate = previous_rates(logits, betas, kind, t)[:, None]
        p.append(np.where(BITS, rate, 1 - rate).prod(2))
    prior = np.where(BITS, RATE, 1 - RATE).prod(1)
    bound, likelihood = np.zeros(4), np.zeros(4)
    for path in itertools.product(range(4), repeat=num_steps + 1):
        forward = math.prod(q[t][path[t], path[t + 1]] for t in range(num_steps))
        joint = prior[path[-1]] * math.prod(p[t][path[t + 1], path[t]] for t in range(num_steps))
        likelihood[path[0]] += joint
        if forward > 0:
            bound[path[0]] += forward * (math.log(forward) - math.log(joint))
    return bound, -np.log(likelihood)


def by_terms(reverse, betas):
    """Each term of the code's bound averaged over all x_t, weighted by q: (4, T) nats for t = 1..T."""
    terms = torch.zeros(4, len(betas), dtype=torch.float64)
    for t in range(1, len(betas) + 1):
        q = torch.tensor(np.kron(kernel(betas, t, 0), kernel(betas, t, 0)))
        prediction = reverse.predict(STATES, torch.full((4,), t))
        for i in range(4):
            term = bound_term(prediction, STATES[i].expand(4, -1))
            terms[i, t - 1] = torch.where(q[i] > 0, q[i] * term, 0).sum()
    return terms


@EVERY
@KINDS
def test_bound_is_its_sum_over_all_trajectories_and_above_the_true_nll(name, kind, model):
    """L_T + L_{t-1} + .. + L_0 for a random network, for each x_0, and -log p(x_0) by summing out x_1..T."""
    betas, logits, reverse = model(name, kind)
    bound, nll = enumerated(logits, betas, kind)
    total = (prior_kl(reverse, STATES) + by_terms(reverse, betas).sum(1)).detach().numpy()
    np.testing.assert_allclose(total, bound, rtol=1e-9)
    assert (total > nll).all() and math.isclose(np.exp(-nll).sum(), 1)


@KINDS
def test_exact_reverse_process_of_independent_bits_makes_the_bound_tight(kind):
    """Its bound is -log p(x_0), for each x_0: data of bits with rates 0.1 and 0.7, and beta_T = 1."""
    betas, rates, logits = SCHEDULES["jsd"], np.array([0.1, 0.7]), np.zeros((4, 4, WIDTH))
    for t, (state, i) in itertools.product(range(1, 5), itertools.product(range(4), range(WIDTH))):
        s = 0 if kind is CleanBit else t - 1
        x_s = np.array([1 - rates[i], rates[i]]) @ kernel(betas, s, 0) * kernel(betas, t, s)[:, BITS[state, i]]
        logits[t - 1, state, i] = math.log(x_s[1] / x_s[0])
    reverse = reverse_of(logits, betas, kind)
    total = (prior_kl(reverse, STATES) + by_terms(reverse, betas).sum(1)).detach().numpy()
    np.testing.assert_allclose(total, -np.log(np.where(BITS, rates, 1 - rates).prod(1)), rtol=1e-9)


@KINDS
def test_variational_bound_and_estimate_have_the_enumerated_mean(kind, model):
    """20,000 examples of one x_0: within five standard errors, all terms and (for the estimate) three of four."""
    betas, logits, reverse = model("jsd", kind)
    expected, n = enumerated(logits, betas, kind)[0][2], 20_000
    x_0 = STATES[2].expand(n, -1)
    total = variational_bound(reverse, x_0, torch.Generator().manual_seed(1)).total
    assert abs(total.mean() - expected) < 5 * total.std() / math.sqrt(n)
    for terms in (None, 3):
        first = cut_strata(reverse.process.schedule, terms)
        sums = BoundSums(first, n, torch.device("cpu"))
        sums.add(reverse, x_0, range(n * (len(first) - 1)), torch.Generator().manual_seed(2))
        found = estimate(sums).total
        assert abs(found.value - expected / (WIDTH * math.log(2))) < 5 * found.error


@KINDS
def test_times_t_averaged_over_steps_and_noise_is_the_sum_of_the_terms(kind, model):
    """Exactly, over a grid of 64 x 64 noises, as all rates are multiples of 1/64; per_term is 1/T of it."""
    betas, rate = [0.5, 0.5, 0.5], np.random.default_rng(0).normal(size=(3, 4, WIDTH))
    reverse = reverse_of(rate, betas, kind)
    grid = torch.cartesian_prod(*[(torch.arange(64, dtype=torch.float64) + 0.5) / 64] * WIDTH)
    draw = Draw(torch.arange(1, 4).expand(4096, 3), torch.full((4096, 3), 1 / 3, dtype=torch.float64))
    expected = bits_per_dim(by_terms(reverse, betas).sum(1), STATES)
    for scale, part in (("times_T", 1), ("per_term", 3)):
        objective = VariationalBound(AllTimesteps(), scale)
        objective.bind(reverse)
        for x_0, value in zip(STATES, expected):
            losses = objective(reverse, x_0.expand(4096, -1), (draw, grid[:, None].expand(-1, 3, -1)))
            torch.testing.assert_close(losses.mean() * part, value)


@KINDS
def test_gradient_of_the_bound_is_the_slope_of_the_enumerated_bound(kind, model):
    """Central differences in every logit of the table."""
    betas, logits, reverse = model("three steps", kind)
    (gradient,) = torch.autograd.grad(by_terms(reverse, betas)[1].sum(), reverse.network.logits)
    for index in np.ndindex(*logits.shape):
        up, down = logits.copy(), logits.copy()
        up[index], down[index] = up[index] + 1e-4, down[index] - 1e-4
        slope = (enumerated(up, betas, kind)[0][1] - enumerated(down, betas, kind)[0][1]) / 2e-4
        assert gradient[index].item() == pytest.approx(slope, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("objective", [Simple, VariationalBound])
@KINDS
def test_objectives_are_least_at_the_mean_of_the_posterior(kind, objective):
    """Of tied bits, P(x_0 = 1|x_t) or P(x_{t-1} = 1|x_t) by Bayes' rule: no gradient there, more loss elsewhere."""
    betas, data = SCHEDULES["jsd"], np.array([0.5, 0.1, 0.05, 0.35])
    logits, weights = np.zeros((4, 4, WIDTH)), np.zeros((4, 4, 4))  # weights: of (t, x_0, x_t)
    for t in range(1, 5):
        s = 0 if kind is CleanBit else t - 1
        before, step, now = (np.kron(k, k) for k in (kernel(betas, s, 0), kernel(betas, t, s), kernel(betas, t, 0)))
        joint = (data @ before)[:, None] * step
        logits[t - 1] = np.log((joint.T @ BITS) / (joint.T @ (1 - BITS)))
        weights[t - 1] = data[:, None] * now
    t, x_0, x_t = (torch.tensor(i) for i in np.indices((4, 4, 4)).reshape(3, -1))

    def loss(reverse):
        prediction = reverse.predict(STATES[x_t], t + 1)
        objective_of_one = objective()
        objective_of_one.bind(reverse)
        return (objective_of_one.loss(prediction, STATES[x_0], x_0) * torch.tensor(weights).flatten()).sum()

    reverse = reverse_of(logits, betas, kind)
    (gradient,) = torch.autograd.grad(loss(reverse), reverse.network.logits)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)
    for _ in range(3):
        assert loss(reverse_of(logits + 0.1 * np.random.randn(*logits.shape), betas, kind)) > loss(reverse)


def test_simple_is_the_cross_entropy_of_x_0(model):
    """Mean over values, in nats."""
    _, _, reverse = model("three steps", CleanBit)
    objective = Simple()
    objective.bind(reverse)
    x_0, prediction = STATES, reverse.predict(STATES.flip(0), torch.tensor([1, 2, 3, 1]))
    expected = binary_cross_entropy_with_logits(prediction.output, (x_0 + 1) / 2, reduction="none").mean(1)
    torch.testing.assert_close(objective.loss(prediction, x_0, torch.zeros_like(x_0)), expected)


@pytest.mark.parametrize("objective", [Simple, VariationalBound])
@pytest.mark.parametrize("size", [1.0, 30.0, 200.0])
@KINDS
def test_gradients_are_finite_however_sure_the_network_is(kind, size, objective):
    """Logits of +-200 are rates of exactly 0 and 1 in float32; steps t = 1 and others are mixed in the batch."""
    for betas in SCHEDULES.values():
        reverse = reverse_of((size * torch.randn(len(betas), 4, WIDTH).sign()), betas, kind).train()
        objective_of_one = objective(AllTimesteps())
        objective_of_one.bind(reverse)
        loss = objective_of_one(reverse, STATES.float().repeat(50, 1))
        (gradient,) = torch.autograd.grad(loss.sum(), reverse.network.logits)
        assert not loss.isnan().any() and gradient.isfinite().all()


@pytest.mark.parametrize(
    ("objective", "words"),
    [(Hybrid(), "Hybrid"), (Simple(weighting=MinSNR()), "MinSNR"), (Simple(weighting=BoundWeight()), "BoundWeight")],
    ids=["Hybrid", "MinSNR", "BoundWeight"],
)
def test_objectives_of_gaussian_noise_are_refused_in_one_line(objective, words, model):
    """What trains a variance or weighs squared errors has nothing to do here; the line names the model."""
    with pytest.raises(ConfigError, match=words) as error:
        objective.bind(model("jsd", CleanBit)[2])
    assert "BernoulliReverse" in str(error.value) and "\n" not in str(error.value)
    assert error.value.key.startswith("model.objective")
