import pytest
import torch

from lit_diffusion.data.batch_plans import EvalPlan, TrainPlan
from lit_diffusion.errors import ConfigError


def test_no_image_comes_twice_in_an_epoch_and_the_incomplete_batch_is_dropped():
    plan = TrainPlan(num_images=103, batch_size=10, seed=0)
    assert len(plan) == 10
    drawn = torch.cat([plan.indices(b) for b in range(10)])
    assert len(drawn.unique()) == 100 and drawn.min() >= 0 and drawn.max() < 103


def test_later_epochs_draw_the_images_that_an_epoch_left_out():
    plan = TrainPlan(num_images=19, batch_size=10, seed=0)
    drawn = torch.cat([plan.indices(epoch) for epoch in range(20)])
    assert len(drawn.unique()) == 19


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_together_draw_the_images_and_flips_of_one_rank(world_size):
    one = TrainPlan(103, 8, seed=1)
    ranks = [TrainPlan(103, 8, seed=1, rank=r, world_size=world_size) for r in range(world_size)]
    for batch in (0, 3, 12, 40):
        assert torch.equal(torch.cat([rank.indices(batch) for rank in ranks]), one.indices(batch))
        assert torch.equal(torch.cat([rank.flips(batch) for rank in ranks]), one.flips(batch))


def test_a_batch_is_a_function_of_seed_and_number_not_of_what_was_asked_before():
    plan, other = TrainPlan(50, 5, seed=3), TrainPlan(50, 5, seed=3)
    expected = [plan.indices(b).tolist() for b in range(40)]
    order = torch.randperm(40).tolist()
    assert {b: other.indices(b).tolist() for b in order} == dict(enumerate(expected))


def test_drawing_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    TrainPlan(50, 5, seed=3).flips(7)
    assert torch.equal(torch.get_rng_state(), before)


def test_epochs_and_seeds_give_different_orders_and_flips():
    plan, other_seed = TrainPlan(64, 64, seed=0), TrainPlan(64, 64, seed=1)
    for draw in (TrainPlan.indices, TrainPlan.flips):
        first, next_epoch, reseeded = draw(plan, 0), draw(plan, 1), draw(other_seed, 0)
        assert not torch.equal(first, next_epoch) and not torch.equal(first, reseeded)


def test_flips_are_fair_and_do_not_follow_the_order():
    plan = TrainPlan(10_000, 10_000, seed=0)
    flips, indices = plan.flips(0).double(), plan.indices(0).double()
    assert abs(flips.mean() - 0.5) < 0.02  # 4 standard deviations
    assert abs(torch.corrcoef(torch.stack([flips, indices]))[0, 1]) < 0.04


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("num_images", [297, 3])
def test_evaluation_counts_every_image_once_on_any_number_of_ranks(num_images, world_size):
    plans = [EvalPlan(num_images, 32, rank, world_size) for rank in range(world_size)]
    drawn = torch.cat([plan.indices(b) for plan in plans for b in range(len(plan))])
    assert drawn.sort().values.tolist() == list(range(num_images))


def test_one_rank_evaluates_in_file_order_in_batches_of_the_size_asked_for():
    plan = EvalPlan(70, 32)
    assert [plan.indices(b).tolist() for b in range(len(plan))] == [[*range(32)], [*range(32, 64)], [*range(64, 70)]]


@pytest.mark.parametrize(
    ("batch_size", "world_size", "message"),
    [
        (101, 1, "expected 1 to 100,"),
        (0, 1, "expected 1 to 100,"),
        (10, 4, "multiple of 4, .* got 10; use 8"),
        (2, 4, "multiple of 4, .* got 2; use 4"),
    ],
)
def test_a_batch_size_that_cannot_be_served_is_refused(batch_size, world_size, message):
    with pytest.raises(ConfigError, match=f"^batch_size: .*{message}"):
        TrainPlan(100, batch_size, seed=0, world_size=world_size)
