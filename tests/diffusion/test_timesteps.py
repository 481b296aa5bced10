"""Draws of t: unbiased, as evenly spread as they say, and with a history that is the same on every rank."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from lit_diffusion.diffusion import AllTimesteps, ImportanceSampled, LowDiscrepancy, Uniform

CPU = torch.device("cpu")


def bound_to(timesteps, num_steps):
    timesteps.bind(num_steps)
    return timesteps


def filled(losses, history=2, uniform=0.001):
    """ImportanceSampled on T = len(losses) whose history holds each step's loss `history` times."""
    timesteps = bound_to(ImportanceSampled(history, uniform), len(losses))
    steps = torch.arange(1, len(losses) + 1).repeat(history)
    timesteps.update(steps, torch.tensor(losses).repeat(history))
    return timesteps


def test_all_timesteps_average_exactly():
    """Every image looks at 1..T once, and the weighted sum is the mean over t."""
    draw = bound_to(AllTimesteps(), 7).draw(3, CPU)
    assert draw.t.tolist() == [list(range(1, 8))] * 3
    loss = torch.rand(7)
    torch.testing.assert_close((draw.weight * loss[draw.t - 1]).sum(1), loss.mean().expand(3))


@pytest.mark.parametrize(
    "make",
    [
        lambda: bound_to(Uniform(), 5),
        lambda: bound_to(LowDiscrepancy(), 5),
        lambda: bound_to(ImportanceSampled(), 5),
        lambda: filled([1.0, 5.0, 0.1, 2.0, 9.0]),
        lambda: filled([0.0, 5.0, 0.0, 2.0, 9.0], uniform=0.2),
    ],
    ids=["uniform", "low discrepancy", "importance, history not full", "importance", "importance, zero losses"],
)
def test_weighted_mean_is_unbiased(make):
    """The mean of weight * loss_t over 20,000 draws is the mean of loss_t over t = 1..T, within 5 standard errors."""
    loss = torch.tensor([3.0, -1.0, 4.0, 1.0, -5.0])
    draw = make().draw(20_000, CPU)
    estimates = (draw.weight * loss[draw.t - 1]).sum(1)
    assert sorted(set(draw.t.flatten().tolist())) == [1, 2, 3, 4, 5]
    assert abs(estimates.mean() - loss.mean()) < 5 * estimates.std() / math.sqrt(20_000)


@pytest.mark.parametrize(("batch_size", "num_steps"), [(12, 4), (5, 100), (7, 10), (1, 3), (100, 7)])
def test_low_discrepancy_puts_the_right_number_in_every_range_of_steps(batch_size, num_steps):
    """In steps 1..k lie B k / T of the batch, to within one, for every k and offset; each stratum has its point."""
    for _ in range(20):
        t = bound_to(LowDiscrepancy(), num_steps).draw(batch_size, CPU).t.flatten()
        for k in range(1, num_steps + 1):
            assert abs((t <= k).sum().item() - batch_size * k / num_steps) < 1 + 1e-9
        if batch_size % num_steps == 0:
            assert (torch.bincount(t, minlength=num_steps + 1)[1:] == batch_size // num_steps).all()


def test_low_discrepancy_is_uniform_for_each_image_of_the_batch():
    """Image 2 of 3 meets every one of 4 steps equally often: counts of 4,000 draws within 5 standard errors."""
    timesteps = bound_to(LowDiscrepancy(), 4)
    t = torch.cat([timesteps.draw(3, CPU).t[2] for _ in range(4000)])
    counts = torch.bincount(t, minlength=5)[1:]
    assert (counts - 1000).abs().max() < 5 * math.sqrt(4000 * 0.25 * 0.75)


def test_importance_is_proportional_to_root_mean_square_loss_mixed_with_uniform():
    """p_t = 0.999 sqrt(E[L_t^2]) / sum + 0.001 / T, from unequal losses of each t."""
    timesteps = bound_to(ImportanceSampled(history=10), 3)
    losses = np.random.default_rng(0).random((3, 10)) * [[1], [5], [20]]
    for i in range(10):
        timesteps.update(torch.tensor([2, 1, 3]), torch.tensor(losses[[1, 0, 2], i]))
    size = np.sqrt((losses**2).mean(1))
    np.testing.assert_allclose(timesteps.probabilities().numpy(), 0.999 * size / size.sum() + 0.001 / 3, rtol=1e-6)


def test_importance_weights_are_the_inverse_probabilities():
    """weight = 1 / (T p_t) for the t drawn, and t is drawn with p_t: counts of 30,000 within 5 standard errors."""
    timesteps = filled([1.0, 3.0, 6.0])
    p = 0.999 * torch.tensor([0.1, 0.3, 0.6]).double() + 0.001 / 3
    draw = timesteps.draw(30_000, CPU)
    torch.testing.assert_close(draw.weight.double(), 1 / (3 * p[draw.t - 1]), rtol=1e-5, atol=0)
    counts = torch.bincount(draw.t.flatten(), minlength=4)[1:]
    assert ((counts - 30_000 * p).abs() < 5 * (30_000 * p * (1 - p)).sqrt()).all()


def test_importance_is_uniform_until_every_step_has_its_history():
    """One loss short of full at one step, all draws are uniform with weight 1; with it, they are not."""
    timesteps = bound_to(ImportanceSampled(history=2), 3)
    timesteps.update(torch.tensor([1, 1, 2, 2, 3]), torch.tensor([1.0, 1.0, 9.0, 9.0, 1.0]))
    torch.testing.assert_close(timesteps.probabilities(), torch.full((3,), 1 / 3).double())
    assert (timesteps.draw(50, CPU).weight == 1).all()
    timesteps.update(torch.tensor([3]), torch.tensor([1.0]))
    assert timesteps.probabilities()[1] > 0.8


def test_importance_keeps_the_last_ten_losses():
    """Of thirteen losses of a step, the first three are forgotten; two of one batch enter in order."""
    timesteps = bound_to(ImportanceSampled(), 2)
    timesteps.update(torch.full((13,), 1), torch.tensor([1e6] * 3 + [2.0] * 10))
    timesteps.update(torch.full((10,), 2), torch.full((10,), 6.0))
    expected = torch.tensor([0.999 * 0.25 + 0.0005, 0.999 * 0.75 + 0.0005]).double()
    torch.testing.assert_close(timesteps.probabilities(), expected, rtol=1e-6, atol=0)


def test_importance_of_losses_that_are_all_zero_stays_uniform():
    """No 0 / 0."""
    torch.testing.assert_close(filled([0.0, 0.0]).probabilities(), torch.full((2,), 0.5).double())


def test_importance_of_losses_whose_squares_are_not_float32_is_that_of_smaller_ones():
    """1e30 and 3e30, as of a run that explodes: probabilities of 1 and 3."""
    torch.testing.assert_close(filled([1e30, 3e30]).probabilities(), filled([1.0, 3.0]).probabilities())


@pytest.mark.parametrize("loss", [math.inf, math.nan])
def test_importance_of_a_loss_that_is_not_finite_is_uniform(loss):
    """Draws go on until the run ends as diverged."""
    timesteps = filled([1.0, loss, 2.0])
    torch.testing.assert_close(timesteps.probabilities(), torch.full((3,), 1 / 3).double())
    assert (timesteps.draw(50, CPU).weight == 1).all()


def test_importance_survives_a_checkpoint():
    """After a state_dict round trip the same draws follow, and the next losses replace the same old ones."""
    original, copy = bound_to(ImportanceSampled(history=3), 2), bound_to(ImportanceSampled(history=3), 2)
    original.update(torch.tensor([1, 1, 1, 1, 2, 2, 2]), torch.tensor([9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    copy.load_state_dict(original.state_dict())
    for timesteps in (original, copy):
        torch.manual_seed(3)
        timesteps.drawn = timesteps.draw(20, CPU).t
        timesteps.update(torch.tensor([1, 2]), torch.tensor([30.0, 40.0]))
    assert torch.equal(original.drawn, copy.drawn)
    assert torch.equal(original.probabilities(), copy.probabilities())
    size = np.sqrt([(4 + 9 + 900) / 3, (25 + 36 + 1600) / 3])  # 9, 1 and 4 are gone
    np.testing.assert_allclose(copy.probabilities().numpy(), 0.999 * size / size.sum() + 0.0005, rtol=1e-6)


RANK = """
import json, sys, torch, torch.distributed as dist
from lit_diffusion.diffusion import ImportanceSampled
rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
timesteps = ImportanceSampled(history=2)
timesteps.bind(2)
timesteps.update(torch.tensor([1, 2]), torch.tensor([[1.0, 2.0], [3.0, 5.0]][rank]))
print(json.dumps([timesteps.losses.tolist(), timesteps.counts.tolist()]))
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_importance_history_is_that_of_all_ranks_on_every_rank(tmp_path):
    """Two processes that saw different losses hold the same history: both ranks' losses, in the order of ranks."""
    command = [sys.executable, "-c", RANK]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    outputs = [json.loads(rank.communicate(timeout=120)[0]) for rank in ranks]
    assert outputs[0] == outputs[1] == [[[1.0, 3.0], [2.0, 5.0]], [2, 2]]
