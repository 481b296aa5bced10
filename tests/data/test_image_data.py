from types import SimpleNamespace

import pytest
import torch

from lit_diffusion.data import Digits
from lit_diffusion.data.image_data import ImageData
from lit_diffusion.errors import ConfigError


def on_rank(rank, world_size, **options):
    """A data module as one of several processes has it."""
    data = Digits(**{"batch_size": 120, "flip": True, "seed": 0, **options})
    data.trainer = SimpleNamespace(
        global_rank=rank,
        world_size=world_size,
        limit_train_batches=1.0,
        overfit_batches=0,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        fit_loop=SimpleNamespace(total_batch_idx=-1),
    )
    data.setup()
    return data


@pytest.mark.parametrize("world_size", [2, 3])
def test_any_number_of_processes_trains_on_the_batches_of_one(world_size):
    one = on_rank(0, 1).train_dataloader()
    ranks = [on_rank(rank, world_size).train_dataloader() for rank in range(world_size)]
    for whole, parts in zip(one, zip(*ranks)):
        assert torch.equal(torch.cat(parts), whole)
    assert one.state_dict() == ranks[0].state_dict() == {"batches": 12}


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_any_number_of_processes_evaluates_all_297_images_once(world_size):
    ranks = [on_rank(rank, world_size) for rank in range(world_size)]
    served = torch.cat([x for data in ranks for x in data.test_dataloader()])
    expected = ranks[0].images("test").float() / 8 - 1
    assert sorted(served.flatten(1).tolist()) == sorted(expected.flatten(1).tolist())


def test_a_batch_that_does_not_divide_among_the_processes_is_refused_before_training():
    data = on_rank(0, 2, batch_size=25)
    with pytest.raises(ConfigError, match="^batch_size: expected a multiple of 2, .*; got 25; use 24$"):
        data.setup("fit")


def test_images_asked_for_before_setup_say_so():
    with pytest.raises(RuntimeError, match=r"Digits: call setup\(\)"):
        Digits().images("train")


def test_reading_happens_once(monkeypatch):
    data = Digits()
    data.setup("fit")
    images = data.images("train")
    monkeypatch.setattr(Digits, "read", None)
    data.setup("test")
    assert data.images("train") is images


def test_a_data_set_must_say_how_its_images_are_read():
    with pytest.raises(TypeError, match="read"):
        ImageData(batch_size=1)
