import os

import pytest
import torch
from PIL import Image

from lit_diffusion.data.batch_plans import EvalPlan, TrainPlan
from lit_diffusion.data.image_decoding import Form
from lit_diffusion.data.loader import EvalBatches, TrainBatches
from lit_diffusion.data.source_store import SourceStore
from lit_diffusion.data.sources.folder_source import FolderSource
from lit_diffusion.data.store import MemoryStore, fits

CPU = torch.device("cpu")


@pytest.fixture
def images():
    return torch.randint(0, 256, (11, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def folder(tmp_path, images):
    for i, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"{i:02}.png")
    return tmp_path


def stores(images, folder):
    source = FolderSource("root", str(folder), sorted(os.listdir(folder)))
    yield MemoryStore(images)
    yield SourceStore("root", source, Form((4, 4), 3), num_workers=0)
    yield SourceStore("root", source, Form((4, 4), 3), num_workers=2)


def test_memory_and_files_and_workers_serve_the_same_pixels_in_the_order_asked_for(images, folder):
    wanted = [torch.tensor([3, 1]), torch.tensor([10]), torch.tensor([0, 0, 7])]
    for store in stores(images, folder):
        assert len(store) == 11
        served = list(store.batches(wanted, CPU))
        assert all(torch.equal(levels, images[indices]) for levels, indices in zip(served, wanted, strict=True))


def test_training_batches_are_the_planned_images_scaled_and_flipped(images, folder):
    plan = TrainPlan(11, 4, seed=0)
    expected = []
    for n in range(4):  # two epochs
        x = images[plan.indices(n)].float() / 127.5 - 1
        expected.append([image.flip(-1) if flip else image for image, flip in zip(x, plan.flips(n))])
    for store in stores(images, folder):
        loader = TrainBatches(store, TrainPlan(11, 4, seed=0), 256, CPU, flip=True)
        served = [x for _ in range(2) for x in loader]
        assert len(loader) == 2 and len(served) == 4
        assert all(torch.equal(x, torch.stack(y)) for x, y in zip(served, expected))


def test_without_flip_no_image_is_mirrored(images):
    plan = TrainPlan(11, 4, seed=0)
    (x, *_) = TrainBatches(MemoryStore(images), plan, 256, CPU)
    assert plan.flips(0).any() and torch.equal(x, images[plan.indices(0)].float() / 127.5 - 1)


def test_evaluation_serves_the_split_in_file_order(images, folder):
    for store in stores(images, folder):
        served = torch.cat(list(EvalBatches(store, EvalPlan(11, 4), 256, CPU)))
        assert torch.equal(served, images.float() / 127.5 - 1)


def test_the_state_counts_what_was_handed_out_not_what_workers_have_prefetched(images, folder):
    for store in stores(images, folder):
        loader = TrainBatches(store, TrainPlan(11, 1, seed=0), 256, CPU)
        for count, _ in enumerate(loader, start=1):
            assert loader.state_dict() == {"batches": count}
            if count == 5:
                break
        rest = list(loader)
        assert len(rest) == 6  # to the end of the epoch, not a whole one more


def test_a_loaded_state_first_finishes_its_epoch_then_serves_whole_ones(images):
    def loader():
        return TrainBatches(MemoryStore(images), TrainPlan(11, 2, seed=0), 256, CPU, flip=True)

    unbroken = loader()
    stream = [x for _ in range(3) for x in unbroken]
    for stop in range(11):
        resumed = loader()
        resumed.load_state_dict({"batches": stop})
        first, second = list(resumed), list(resumed)
        assert len(first) == 5 - stop % 5 and len(second) == 5
        assert all(torch.equal(x, y) for x, y in zip(first + second, stream[stop:]))


def test_shorter_epochs_cut_the_same_stream_elsewhere(images):
    plan = TrainPlan(11, 2, seed=0)
    whole, short = (TrainBatches(MemoryStore(images), plan, 256, CPU, epoch_batches=n) for n in (None, 3))
    stream = [x for _ in range(3) for x in whole]
    pieces = [list(short) for _ in range(5)]
    assert [len(piece) for piece in pieces] == [3] * 5
    assert all(torch.equal(x, y) for x, y in zip(sum(pieces, []), stream, strict=True))


def test_repeated_epochs_are_the_first_one_again(images):
    loader = TrainBatches(MemoryStore(images), TrainPlan(11, 2, seed=0), 256, CPU, epoch_batches=2, repeat=True)
    first, second = list(loader), list(loader)
    assert torch.equal(torch.stack(first), torch.stack(second))


def test_reading_files_leaves_the_global_random_state_alone(images, folder):
    before = torch.get_rng_state()
    for store in stores(images, folder):
        list(store.batches([torch.tensor([0])], CPU))
    assert torch.equal(torch.get_rng_state(), before)


def test_images_stay_off_a_gpu_that_has_less_than_four_times_their_size_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4000, 8000))
    gpu = torch.device("cuda", 0)
    assert fits(1000, gpu) and not fits(1001, gpu) and fits(10**15, CPU)
