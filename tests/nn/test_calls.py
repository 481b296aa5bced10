"""Networks and schedules called by hand: with Python integers, and with what does not fit."""

import math

import pytest
import torch

from lit_diffusion.diffusion import JSDSchedule, LearnedSchedule, LinearSchedule
from lit_diffusion.errors import ConfigError
from lit_diffusion.nn import ClassicUNet, MultiScaleNetwork, RadialBasisNetwork, UNet, VectorMLP

NETWORKS = {
    "UNet": (lambda: UNet(2, 2, width=4, multipliers=(1, 1), num_blocks=1, attention_levels=(), groups=2), (2, 4, 4)),
    "ClassicUNet": (lambda: ClassicUNet(2, 2, width=2, levels=2), (2, 4, 4)),
    "MultiScaleNetwork": (lambda: MultiScaleNetwork(2, 2, num_steps=9, width=4, scales=2), (2, 4, 4)),
    "VectorMLP": (lambda: VectorMLP(2, 2, width=4), (2,)),
    "RadialBasisNetwork": (lambda: RadialBasisNetwork(2, 2, num_steps=9), (2,)),
}
EACH = pytest.mark.parametrize(("make", "shape"), NETWORKS.values(), ids=NETWORKS.keys())


@EACH
def test_one_index_for_all_examples_is_that_index_for_each(make, shape, perturbed):
    """As an integer, and as a tensor without dimensions."""
    network, x = perturbed(make()), torch.randn(3, *shape)
    expected = network(x, torch.full((3,), 7))
    assert not torch.equal(expected, network(x, 2))
    for index in (7, torch.tensor(7)):
        assert torch.equal(network(x, index), expected)


@EACH
def test_a_call_that_does_not_fit_is_refused_in_words(make, shape):
    """Another number of indices, of channels, of dimensions, and sizes that cannot be halved."""
    network = make()
    with pytest.raises(ConfigError, match=r"^expected one index t, or one for each of 3 examples, got shape \(2,\)"):
        network(torch.zeros(3, *shape), torch.zeros(2).long())
    for other in [(3, *shape[1:]), (*shape, 4), *([(2, 5, 4)] if len(shape) > 1 else [])]:
        with pytest.raises(ConfigError, match="^expected .*, got "):
            network(torch.zeros(3, *other), 1)


@pytest.mark.parametrize("schedule", [LinearSchedule(10, 0.1, 0.2), LearnedSchedule(LinearSchedule(10, 0.1, 0.2))])
def test_a_schedule_at_an_integer_is_the_entry_of_its_table(schedule):
    """A number, with no dimension, from 0 to T."""
    t, s = torch.tensor([10]), torch.tensor([4])
    for one, each in [
        (schedule.alpha_bar(10), schedule.alpha_bar(t)),
        (schedule.sigma2(10), schedule.sigma2(t)),
        (schedule.log_snr(10), schedule.log_snr(t)),
        (schedule.alpha(10, 4), schedule.alpha(t, s)),
        (schedule.beta(10, 4), schedule.beta(t, s)),
    ]:
        assert one.shape == () and one == each[0]
    assert schedule.alpha_bar(0) == 1


@pytest.mark.parametrize("t", [-1, 11, 0.5, math.nan])
def test_a_step_that_a_schedule_lacks_is_refused(t):
    """And not taken from the end of the table."""
    with pytest.raises(ConfigError, match=f"^t: expected a step from 0 to T = 10, got {t}"):
        JSDSchedule(10).alpha_bar(t)
