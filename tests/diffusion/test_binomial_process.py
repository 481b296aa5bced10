"""The binomial forward process against products of its steps over the two values, and Bayes' rule by enumeration."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch

from lit_diffusion.diffusion import (
    Bernoulli,
    BinomialProcess,
    ConstantSchedule,
    CosineSchedule,
    JSDSchedule,
    LinearSchedule,
    QuadraticSchedule,
    RescaledLinearSchedule,
    SigmoidSchedule,
    WarmupSchedule,
)
from lit_diffusion.diffusion.schedule import NoiseSchedule
from lit_diffusion.errors import ConfigError


def of(*betas):
    return NoiseSchedule(torch.tensor(betas, dtype=torch.float64))


SCHEDULES = {
    "linear": LinearSchedule(5, 0.05, 0.6),
    "rescaled": RescaledLinearSchedule(5, 1e-4, 2e-3),
    "quadratic": QuadraticSchedule(5, 0.05, 0.6),
    "constant": ConstantSchedule(5, 0.3),
    "warmup": WarmupSchedule(6, 0.01, 0.5, fraction=0.5),
    "jsd": JSDSchedule(5),
    "cosine": CosineSchedule(5),
    "sigmoid": SigmoidSchedule(5),
    "all one": ConstantSchedule(3, 1.0),
    "all zero": ConstantSchedule(3, 0.0),
    "first zero": of(0.0, 0.0, 0.3, 0.5),
    "zero in the middle": of(0.3, 0.0, 0.0, 0.5),
    "one in the middle": of(0.3, 1.0, 0.2),
    "zero, then one": of(0.0, 1.0, 0.0),
}
EVERY = pytest.mark.parametrize("name", SCHEDULES)
RATES = pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])


def kernel(schedule, rate, t, s):
    """P(x_t = column | x_s = row) for the values -1, 1 by products of single steps: (2, 2)."""
    steps = schedule.steps()
    betas = schedule.beta(steps, steps - 1).numpy()[s:t]
    drawn = np.array([1 - rate, rate])
    return functools.reduce(np.matmul, [(1 - beta) * np.eye(2) + beta * drawn for beta in betas], np.eye(2))


def pairs(schedule):
    return [(t, s) for t in range(1, schedule.num_steps + 1) for s in range(t)]


def table_of(p):
    """(P(-1), P(1)), (B, 2) for a Bernoulli of (B, 1)."""
    return torch.cat([p.complement, p.rate], dim=1).numpy()


VALUES = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)


@EVERY
@RATES
def test_marginal_and_step_are_products_of_single_steps(name, rate, to_steps):
    """Over the two values, for all s < t: rows of the product, so they sum to one."""
    schedule = SCHEDULES[name]
    process = BinomialProcess(schedule, rate)
    for t, s in pairs(schedule):
        step = process.step(VALUES, *to_steps(2, t, s))
        np.testing.assert_allclose(table_of(step), kernel(schedule, rate, t, s), rtol=1e-12, atol=1e-15)
        marginal = table_of(process.marginal(VALUES, *to_steps(2, t)))
        np.testing.assert_allclose(marginal, kernel(schedule, rate, t, 0), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(marginal.sum(1), 1, rtol=1e-12)


@EVERY
@RATES
def test_posterior_follows_from_bayes(name, rate, to_steps):
    """q(x_s|x_t,x_0) is q(x_t|x_s) q(x_s|x_0) over its sum, for all s < t, x_0 and x_t; x_t itself where that is 0."""
    schedule = SCHEDULES[name]
    process = BinomialProcess(schedule, rate)
    for t, s in pairs(schedule):
        for i, j in itertools.product(range(2), repeat=2):
            joint = kernel(schedule, rate, s, 0)[i] * kernel(schedule, rate, t, s)[:, j]
            expected = joint / joint.sum() if joint.sum() > 0 else np.eye(2)[j]
            posterior = table_of(process.posterior(VALUES[i : i + 1], VALUES[j : j + 1], *to_steps(1, t, s)))[0]
            np.testing.assert_allclose(posterior, expected, rtol=1e-11, atol=1e-15)
            assert posterior.sum() == pytest.approx(1, rel=1e-12)
            if s == 0 and joint.sum() > 0:
                assert posterior.tolist() == np.eye(2)[i].tolist()


@RATES
def test_where_all_is_erased_the_posterior_is_the_marginal(rate, to_steps):
    """With alpha_bar_T = 0, x_T tells nothing if beta_T = 1, and no division by zero says otherwise."""
    process = BinomialProcess(JSDSchedule(5), rate)
    for x_T in VALUES:  # noqa: N806
        posterior = process.posterior(VALUES, x_T.expand(2, 1), *to_steps(2, 5, 4))
        np.testing.assert_allclose(table_of(posterior), table_of(process.marginal(VALUES, *to_steps(2, 4))), rtol=1e-12)


@RATES
@pytest.mark.parametrize("schedule", [LinearSchedule(1000), CosineSchedule(1000), JSDSchedule(1000)], ids=type)
def test_both_probabilities_are_right_to_float32_rounding_at_all_1000_steps(schedule, rate, table):
    """Marginal, step and posterior, the rare value included: 1 - rate in float32 would be off by 6e-4 at t = 1."""
    steps = schedule.steps()
    reference = table(schedule.beta(steps, steps - 1).numpy())
    process, one = BinomialProcess(schedule, rate), torch.ones(1000, 1)
    before, now = (process.marginal(one, i) for i in (steps - 1, steps))
    stay, leave = process.step(one, steps, steps - 1), process.step(-one, steps, steps - 1)
    q = np.longdouble(rate)
    kept, beta, sigma2 = reference.alpha_bar, reference.beta[1:], reference.sigma2
    exact = {
        "now": (now, kept[1:] + q * sigma2[1:], (1 - q) * sigma2[1:]),
        "stay": (stay, 1 - beta + q * beta, (1 - q) * beta),
        "leave": (leave, q * beta, 1 - beta + (1 - q) * beta),
    }
    same, other = (1 - beta + q * beta) * (kept[:-1] + q * sigma2[:-1]), q * beta * (1 - q) * sigma2[:-1]
    exact["posterior"] = (process.posterior(one, one, steps, steps - 1), same / (same + other), other / (same + other))
    for p, up, down in exact.values():
        assert p.rate.dtype == p.complement.dtype == torch.float32
        np.testing.assert_allclose(p.rate.flatten().numpy(), up.astype(float), rtol=6e-7)
        np.testing.assert_allclose(p.complement.flatten().numpy(), down.astype(float), rtol=6e-7)
    assert before.complement[0] == 0


def test_each_value_of_a_batch_of_images_has_its_own_distribution():
    """Images (3, 2, 2, 2) with steps of their own: every pixel's posterior is that of the pixel alone."""
    process = BinomialProcess(JSDSchedule(5), 0.2)
    x_0, x_t = (torch.randint(0, 2, (3, 2, 2, 2)).double() * 2 - 1 for _ in range(2))
    t, s = torch.tensor([3, 1, 5]), torch.tensor([1, 0, 2])
    batch = process.posterior(x_0, x_t, t, s)
    for index in itertools.product(range(3), range(2), range(2), range(2)):
        i = index[0]
        one = process.posterior(x_0[index].view(1, 1), x_t[index].view(1, 1), t[i : i + 1], s[i : i + 1])
        assert batch.rate[index] == one.rate.item() and batch.complement[index] == one.complement.item()


@RATES
def test_prior_is_what_a_full_destruction_ends_in(rate, to_steps):
    """q(x_T|x_0) and p(x_T) are the same where alpha_bar_T = 0: their KL is exactly zero."""
    process, x_0 = BinomialProcess(JSDSchedule(7), rate), VALUES.float().expand(2, 3)
    prior = process.prior((2, 3))
    assert isinstance(prior, Bernoulli) and prior.rate.shape == (2, 3)
    assert (prior.rate == torch.tensor(rate)).all() and (prior.complement == torch.tensor(1 - rate)).all()
    assert (process.marginal(x_0, *to_steps(2, 7)).kl(prior) == 0).all()


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_a_rate_that_excludes_a_value_is_refused_in_one_line(rate):
    """The line names the option and what to write."""
    with pytest.raises(ConfigError) as error:
        BinomialProcess(JSDSchedule(3), rate)
    message = str(error.value)
    assert "rate" in message and "(0, 1)" in message and "\n" not in message
