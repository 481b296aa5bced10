"""When a GAN has failed, by what happened at each of the last steps."""

import copy

import pytest
import torch

from lit_diffusion.baselines import Collapse
from lit_diffusion.baselines.collapse import spread_of
from lit_diffusion.errors import ConfigError

WELL, WON, EQUAL = (torch.tensor(numbers) for numbers in ([0.9, 0.4, 0.8], [0.001, 0.0, 0.8], [0.9, 0.4, 0.01]))


def after(*steps: torch.Tensor, **options) -> Collapse:
    collapse = Collapse(**{"patience": 5, **options})
    for step in steps:
        collapse.update(step)
    return collapse


def test_a_discriminator_that_has_won_at_every_step_for_long_ends_training():
    """`patience` steps, not one fewer; a loss that comes back breaks the run of wins."""
    assert after(*[WON] * 4).reason is None
    reason = after(*[WON] * 7).reason
    assert reason == "the discriminator has won outright for 7 steps, with 0.10% of the loss of a guess"
    assert after(*[WON] * 4, 20 * WELL, *[WON] * 4).reason is None
    assert after(*[WELL] * 50).reason is None


def test_equal_samples_end_training():
    reason = after(*[EQUAL] * 5).reason
    assert reason == "the generator's samples have been equal for 5 steps, with 1.00% of the data's spread"


def test_averages_forget_by_one_percent_a_step():
    """The first step is taken as it is, also after one that was not finite."""
    averages = after(WELL, *[EQUAL] * 10).averages
    assert averages[2].item() == pytest.approx(0.01 + 0.79 * 0.99**10)
    assert after(WELL, torch.full((3,), torch.nan), EQUAL).averages[2].item() == pytest.approx(0.01)


def test_a_restored_count_goes_on():
    """All of the state is in buffers."""
    half = after(*[WON] * 3)
    other = Collapse(patience=5)
    other.load_state_dict(copy.deepcopy(half.state_dict()))
    for one in (half, other):
        one.update(WON)
        one.update(WON)
    won = "the discriminator has won outright for 5 steps, with 0.10% of the loss of a guess"
    assert other.reason == half.reason == won


def test_spread_is_the_root_of_the_total_variance():
    x = torch.tensor([[[0.0, 1.0]], [[2.0, 1.0]], [[4.0, 4.0]]])
    assert spread_of(x).item() == pytest.approx((8 / 3 + 2) ** 0.5)
    assert spread_of(x[:1]).item() == 0


def test_options_out_of_range_are_refused_and_zero_patience_never_fails():
    assert after(*[WON] * 50, patience=0).reason is None
    with pytest.raises(ConfigError, match="^patience: expected 0 or more, got -1"):
        Collapse(patience=-1)
    with pytest.raises(ConfigError, match="^lost: expected a number between 0 and 1, got 2"):
        Collapse(lost=2)
