"""Labels travel with their images: through plans, epochs, ranks and resume; models without labels get images alone."""

from types import SimpleNamespace

import pytest
import torch

from lit_diffusion.data import Digits, SwissRoll
from lit_diffusion.data.batch_plans import EvalPlan, TrainPlan
from lit_diffusion.data.loader import EvalBatches, TrainBatches
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.errors import ConfigError

CPU = torch.device("cpu")
LABELS = torch.randperm(11, generator=torch.Generator().manual_seed(0))
IMAGES = LABELS.to(torch.uint8)[:, None, None, None].expand(11, 1, 2, 2).contiguous()  # each shows its label


def shown(x):
    return ((x[:, 0, 0, 0] + 1) * 127.5).round().long()


@pytest.mark.parametrize("world_size", [1, 2])
def test_every_image_comes_with_its_own_label(world_size):
    """Over three epochs, flipped or not, on every rank; the images are those of a loader without labels."""
    for rank in range(world_size):
        plan = TrainPlan(11, 4, seed=3, rank=rank, world_size=world_size)
        pairs, alone = (
            TrainBatches(MemoryStore(IMAGES), plan, 256, CPU, flip=True, labels=labels) for labels in (LABELS, None)
        )
        for _ in range(3):
            for (x, label), image in zip(pairs, alone, strict=True):
                assert torch.equal(x, image) and torch.equal(label, shown(x))
        held_out = EvalBatches(MemoryStore(IMAGES), EvalPlan(11, 4, rank, world_size), 256, CPU, LABELS)
        assert torch.equal(torch.cat([label for _, label in held_out]), LABELS[rank::world_size])
        assert all(torch.equal(label, shown(x)) for x, label in held_out)


def test_labels_continue_with_the_images_after_a_resume():
    plan = TrainPlan(11, 2, seed=0)
    whole, resumed = (TrainBatches(MemoryStore(IMAGES), plan, 256, CPU, labels=LABELS) for _ in range(2))
    expected = [label for _ in range(2) for _, label in whole][3:]
    resumed.load_state_dict({"batches": 3})
    found = [label for _ in range(2) for _, label in resumed]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_data_serve_labels_to_models_that_take_them():
    for num_classes in (None, 10):
        data = Digits(batch_size=50)
        data.trainer = SimpleNamespace(
            lightning_module=SimpleNamespace(num_classes=num_classes), global_rank=0, world_size=1, overfit_batches=0,
            limit_train_batches=1.0, fit_loop=SimpleNamespace(total_batch_idx=-1),
            strategy=SimpleNamespace(root_device=CPU),
        )  # fmt: skip
        data.setup()
        assert (data.num_classes, data.class_names) == (10, tuple("0123456789"))
        for loader, split in ((data.train_dataloader(), "train"), (data.eval_batches("test"), "test")):
            batch = next(iter(loader))
            assert isinstance(batch, torch.Tensor) == (num_classes is None)
            if num_classes:
                x, label = batch
                of_image = {tuple(i.flatten().tolist()): int(c) for i, c in zip(data.images(split), data.labels(split))}
                levels = ((x + 1) * 8).round().to(torch.uint8)
                assert [of_image[tuple(one.flatten().tolist())] for one in levels] == label.tolist()


def test_data_without_labels_say_so():
    data = SwissRoll(num_train=10, num_test=0, batch_size=5)
    data.setup()
    assert data.num_classes is None
    with pytest.raises(ConfigError, match="SwissRoll has no labels; use a data set with classes, such as Digits"):
        data.labels("train")
