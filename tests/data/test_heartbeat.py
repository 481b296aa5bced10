"""Every heartbeat has its pulses, and every phase its share."""

import math

import pytest
import torch

from lit_diffusion.data import Heartbeat
from lit_diffusion.errors import ConfigError


def ready(**arguments):
    data = Heartbeat(**arguments)
    data.setup()
    return data


@pytest.mark.parametrize("length, period", [(20, 5), (20, 2), (21, 5), (7, 7)])
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_sequence_has_one_pulse_in_every_period(length, period, split):
    beats = ready(length=length, period=period, num_train=210, num_test=70).images(split)
    assert beats.dtype == torch.uint8 and beats.shape[1:] == (length,)
    assert (beats.unfold(1, period, 1).sum(dim=-1) == 1).all()  # in each stretch of that many bins


@pytest.mark.parametrize("split, count", [("train", 210), ("test", 70)])
def test_the_mean_over_a_split_is_the_expectation(split, count):
    """So the empirical probability of a sequence is its true one, exactly."""
    _, counts = ready(num_train=210, num_test=70).images(split).unique(dim=0, return_counts=True)
    assert counts.tolist() == [count // 5] * 5


def test_each_sequence_has_a_fifth_of_the_probability_and_any_other_none():
    data = ready(eval_batch_size=50)
    x = next(iter(data.eval_batches("test")))
    other = x.clone()
    other[:, 7] *= -1
    assert torch.equal(data.log_density(x), torch.full((50,), -math.log(5), dtype=torch.float64))
    assert (data.log_density(other) == -math.inf).all()


def test_pulses_are_served_as_one_and_the_rest_as_minus_one():
    data = ready(eval_batch_size=1_000)
    (batch,) = data.eval_batches("test")
    assert data.image_shape == (20,) and data.num_levels == 2
    assert torch.equal(batch, data.images("test").float() * 2 - 1)


@pytest.mark.parametrize("length, period", [(20, 21), (20, 1), (20, 0), (0, 5)])
def test_a_period_that_leaves_no_phase_to_choose_is_refused(length, period):
    with pytest.raises(ConfigError, match=f"^period: expected 2 to {length}, the length; got {period}$"):
        Heartbeat(length=length, period=period)


@pytest.mark.parametrize(
    "name, count, near", [("num_train", 12, 10), ("num_train", 0, 5), ("num_test", 13, 15), ("num_test", -5, 0)]
)
def test_a_count_that_favours_some_phases_is_refused(name, count, near):
    with pytest.raises(ConfigError, match=f"^{name}: expected a multiple of the period, 5; got {count}; use {near}$"):
        Heartbeat(**{name: count})
