"""What a network sees: an unbroken run against one that stopped anywhere and went on from the checkpoint."""

import warnings

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image

from lit_diffusion.data import Digits, ImageFolder
from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.store import MemoryStore

STEPS = 11


class Ramps(ImageData):
    """16 images, so 5 batches of 3 in an epoch and one image left out, and 4 images to validate on."""

    image_shape = (1, 1, 4)
    num_levels = 256

    def read(self):
        images = torch.arange(20 * 4, dtype=torch.uint8).view(20, 1, 1, 4)
        return {"train": MemoryStore(images[:16]), "test": MemoryStore(images[16:])}


class Witness(LightningModule):
    """Learns next to nothing and remembers every batch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen, self.validated = [], []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch.flatten().tolist())
        return (self.weight * batch.mean()) ** 2

    def validation_step(self, batch, batch_idx):
        self.validated.append(batch.flatten().tolist())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data, folder, ckpt_path=None, callbacks=(), **options):
    witness = Witness()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not resumable.*")
        warnings.simplefilter("ignore", UserWarning)
        trainer = Trainer(
            default_root_dir=folder, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=bool(callbacks), callbacks=list(callbacks),
            **{"num_sanity_val_steps": 0, **options},
        )  # fmt: skip
        trainer.fit(witness, data, ckpt_path=ckpt_path)
    return witness


def ramps():
    return Ramps(batch_size=3, flip=True, seed=0)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """11 steps, two epochs and a bit, with a checkpoint of each step and of each epoch's end."""
    folder = tmp_path_factory.mktemp("unbroken")
    callbacks = [
        ModelCheckpoint(folder, "step{step}", every_n_train_steps=1, save_top_k=-1, auto_insert_metric_name=False),
        ModelCheckpoint(
            folder, "epoch{step}", save_on_train_epoch_end=True, save_top_k=-1, auto_insert_metric_name=False
        ),
    ]
    return folder, fit(ramps(), folder, callbacks=callbacks, max_steps=STEPS).seen


def test_the_unbroken_run_draws_no_image_twice_in_an_epoch(unbroken):
    _, seen = unbroken
    assert len(seen) == STEPS
    for epoch in (seen[:5], seen[5:10]):
        images = {tuple(sorted(batch[i : i + 4])) for batch in epoch for i in (0, 4, 8)}  # sorted: flips undone
        assert len(images) == 15
    assert sorted(seen[:5]) != sorted(seen[5:10])


@pytest.mark.parametrize("stop", range(1, STEPS))
def test_a_run_resumed_after_any_step_sees_the_batches_of_the_unbroken_run(unbroken, tmp_path, stop):
    folder, seen = unbroken
    assert fit(ramps(), tmp_path, folder / f"step{stop}.ckpt", max_steps=STEPS).seen == seen[stop:]


@pytest.mark.parametrize("limit", [{"max_steps": STEPS}, {"max_epochs": 3}])
@pytest.mark.parametrize("stop", [5, 10])
def test_a_run_resumed_from_an_epoch_s_end_does_not_start_the_data_anew(unbroken, tmp_path, stop, limit):
    """Lightning restores no loader state there when training is counted in epochs."""
    folder, seen = unbroken
    resumed = fit(ramps(), tmp_path, folder / f"epoch{stop}.ckpt", **limit).seen
    assert resumed[: STEPS - stop] == seen[stop:] and len(resumed) == (STEPS if "max_steps" in limit else 15) - stop


@pytest.mark.parametrize("stop", [3, 5, 7])
def test_a_run_counted_in_epochs_resumes_after_any_step(unbroken, tmp_path, stop):
    folder, seen = unbroken
    resumed = fit(ramps(), tmp_path, folder / f"step{stop}.ckpt", max_epochs=3).seen
    assert resumed[: STEPS - stop] == seen[stop:] and len(resumed) == 15 - stop


def test_a_run_that_stopped_by_itself_goes_on_where_it_stopped(unbroken, tmp_path):
    _, seen = unbroken
    stops = [0, 2, 5, 9, STEPS]
    parts = []
    for start, stop in zip(stops, stops[1:]):
        save = ModelCheckpoint(tmp_path, f"stop{stop}", save_last=False, every_n_train_steps=1)
        before = tmp_path / f"stop{start}.ckpt" if start else None
        parts += fit(ramps(), tmp_path, before, callbacks=[save], max_steps=stop).seen
    assert parts == seen


@pytest.mark.parametrize(
    "options", [{"limit_train_batches": 2}, {"limit_train_batches": 0.5}, {"val_check_interval": 2}]
)
def test_shorter_epochs_and_validation_within_an_epoch_change_no_batch_resumed_or_not(unbroken, tmp_path, options):
    _, seen = unbroken
    save = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1, auto_insert_metric_name=False)
    assert fit(ramps(), tmp_path, callbacks=[save], max_steps=STEPS, **options).seen == seen
    for stop in (3, 4, 7):
        assert fit(ramps(), tmp_path, tmp_path / f"{stop}.ckpt", max_steps=STEPS, **options).seen == seen[stop:]


def test_every_epoch_of_a_shortened_run_has_as_many_batches_as_asked_for(unbroken, tmp_path):
    """Also the third, which crosses from one permutation to the next."""
    _, seen = unbroken
    assert fit(ramps(), tmp_path, max_epochs=4, limit_train_batches=2).seen == seen[:8]


def test_reloading_the_loaders_every_epoch_changes_no_batch(unbroken, tmp_path):
    _, seen = unbroken
    assert fit(ramps(), tmp_path, max_steps=STEPS, reload_dataloaders_every_n_epochs=1).seen == seen


def test_a_second_fit_of_one_data_module_starts_at_the_first_batch(unbroken, tmp_path):
    _, seen = unbroken
    data = ramps()
    assert fit(data, tmp_path, max_steps=4).seen == seen[:4]
    assert fit(data, tmp_path, max_steps=4).seen == seen[:4]


@pytest.mark.parametrize("batches", [2, 0.5])
def test_overfit_batches_serves_the_same_batches_every_epoch(unbroken, tmp_path, batches):
    _, seen = unbroken
    assert fit(ramps(), tmp_path, max_steps=6, overfit_batches=batches).seen == seen[:2] * 3


def test_validation_serves_the_whole_test_split_each_time(tmp_path):
    data = ramps()
    witness = fit(data, tmp_path, max_epochs=2)
    expected = (data.images("test").float() / 127.5 - 1).flatten().tolist()
    assert sum(witness.validated, []) == expected * 2


def test_a_folder_read_by_workers_resumes_at_the_same_image(tmp_path):
    for i in range(7):
        Image.new("L", (4, 4), color=30 * i).save(tmp_path / f"{i}.png")

    def data():
        return ImageFolder(str(tmp_path), 4, 2, num_test=1, channels=1, seed=0, num_workers=2, cache_bytes=0)

    save = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1, auto_insert_metric_name=False)
    seen = fit(data(), tmp_path, callbacks=[save], max_steps=5).seen
    assert fit(data(), tmp_path, tmp_path / "2.ckpt", max_steps=5).seen == seen[2:]


def test_a_data_set_without_test_images_trains_without_validation(tmp_path):
    for i in range(3):
        Image.new("L", (4, 4), color=80 * i).save(tmp_path / f"{i}.png")
    witness = fit(ImageFolder(str(tmp_path), 4, 3, num_workers=0), tmp_path, max_epochs=2)
    assert len(witness.seen) == 2 and not witness.validated


def test_digits_train_from_the_first_step(tmp_path):
    witness = fit(Digits(batch_size=500, seed=0), tmp_path, max_epochs=1, limit_val_batches=0)
    assert len(witness.seen) == 3 and {round(8 * (x + 1), 5) for x in witness.seen[0]} == set(range(17))
