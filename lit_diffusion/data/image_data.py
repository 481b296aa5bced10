"""The base class of all data sets; a data set only implements how its images are read."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor

from lit_diffusion.data.batch_plans import EvalPlan, TrainPlan, indivisible
from lit_diffusion.data.loader import EvalBatches, NoImages, TrainBatches
from lit_diffusion.data.store import ImageStore, MemoryStore
from lit_diffusion.errors import ConfigError, check_at_least
from lit_diffusion.pixels import to_float


class ImageData(LightningDataModule, ABC):
    """Examples of one shape, split into "train" and "test", served as float32 batches (B, *), to models with labels as
    pairs with the labels (B,).

    Most examples are images (B, C, H, W) in [-1, 1], hence the names. Binary data are images of two levels, -1 and 1.
    Real-valued data (`num_levels` None), such as points in the plane, are stored as float32 and served unchanged.

    batch_size: training images in a batch of all devices together; eval_batch_size: the same for validation and test,
    by default `batch_size`. flip: mirror each training image with probability 1/2. seed: of the order and the flips, by
    default the seed of the run (`seed_everything`). The images of a run are a function of the seed, on any number of
    devices, and continue at the right image after a resume.

    Validation and test both serve the test split, complete and in file order: the papers have no validation set. A
    subclass sets `image_shape`, (C, H, W) or any other, and `num_levels` when constructed, implements `read`, and
    `log_density` if its true distribution is known. extent: pictures show values from -extent to extent. class_names:
    of the labels 0, 1, .., if they have names; label_advice: what to do if labels are wanted, but there are none.
    log_volume: if values are served on another scale than the user's, the logarithm of the volume, in the user's units,
    of a unit cube of served values: log p in these units is log_volume less; `restore` undoes the change of scale.
    bits_per_example: whether K and its kin are stated per image, not per pixel.
    """

    image_shape: tuple[int, ...]
    num_levels: int | None
    extent: float = 1.0
    class_names: tuple[str, ...] = ()
    label_advice = "use a data set with classes, such as Digits"
    log_volume: float = 0.0
    bits_per_example = False

    def __init__(
        self, batch_size: int, eval_batch_size: int | None = None, flip: bool = False, seed: int | None = None
    ):
        super().__init__()
        check_at_least(1, batch_size=batch_size, eval_batch_size=eval_batch_size)
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size or batch_size
        self.flip, self.seed = flip, seed
        self._stores: Mapping[str, ImageStore] = {}

    @abstractmethod
    def read(self) -> Mapping[str, ImageStore]:
        """The images of "train" and "test". Raises ConfigError that names missing or broken files."""

    def setup(self, stage: str | None = None) -> None:
        """Reads the images once. Before a fit, also checks the batch size against images and devices."""
        if not self._stores:
            self._stores = self.read()
        if stage == "fit":
            self._train_plan()
        if stage is not None:
            self._check_held_out()

    @property
    def sizes(self) -> dict[str, int]:
        """Number of images in each split, after `setup`."""
        return {split: len(self.store(split)) for split in ("train", "test")}

    def images(self, split: str) -> Tensor:
        """All images of a split: (N, C, H, W) uint8 levels on the CPU."""
        store = self.store(split)
        if not isinstance(store, MemoryStore):
            raise ConfigError(
                f"cache_bytes: the {len(store)} images of {split!r} do not fit; increase it, or read in batches with "
                "eval_batches"
            )
        return store.images

    def examples_of(self, split: str, count: int) -> Tensor:
        """Which images of a split to show, at most `count`: (B,) int64, the first ones."""
        return torch.arange(min(count, len(self.store(split))))

    def example_images(self, count: int) -> Tensor:
        """Training images to show, at most `count`: (B, C, H, W) float32 in [-1, 1] on the CPU."""
        chosen = self.store("train").batches([self.examples_of("train", count)], torch.device("cpu"))
        return to_float(next(iter(chosen)), self.num_levels)

    def log_density(self, x: Tensor) -> Tensor | None:
        """log p(x) in nats, in the user's units, of examples x (N, *) as served, under the distribution of the data:
        (N,) float64 on the CPU, or None if the distribution is unknown. No model's bound can exceed its mean.
        """
        return None

    def restore(self, x: Tensor) -> Tensor:
        """Served values (*, *image_shape) in the user's units, on the CPU if they differ."""
        return x

    def labels(self, split: str) -> Tensor:
        """Classes of the images of a split: (N,) int64. Raises ConfigError if the data set has none."""
        labels = getattr(self.store(split), "labels", None)
        if labels is None:
            raise ConfigError(f"{type(self).__name__} has no labels; {self.label_advice}")
        return labels

    @property
    def num_classes(self) -> int | None:
        """Of the labels, after `setup`; None if the data set has none."""
        labels = getattr(self.store("train"), "labels", None)
        return None if labels is None else len(self.class_names or ()) or int(labels.max()) + 1

    def check_labels(self, num_classes: int | None) -> None:
        """Raises ConfigError if a model of `num_classes` classes, None for one without labels, needs labels, but the
        data set has none. After `setup`.
        """
        if num_classes is not None and self.num_classes is None:
            raise ConfigError(f"expected null, since the data have no labels, got {num_classes}; {self.label_advice}")

    def _labels_for_model(self, split: str) -> Tensor | None:
        """The labels of a split, if the trainer's model takes labels."""
        module = getattr(self.trainer, "lightning_module", None)
        return None if getattr(module, "num_classes", None) is None else self.labels(split)

    def train_dataloader(self) -> TrainBatches:
        """Training batches; with a trainer, they continue after the batches that its fit loop has counted.

        Lightning restores a loader's state only within an epoch: after the end of an epoch it would start again.
        """
        plan, trainer = self._train_plan(), self.trainer
        loader = TrainBatches(
            self.store("train"),
            plan,
            self.num_levels,
            self._device(),
            self.flip,
            epoch_batches=_epoch_batches(trainer, len(plan)),
            repeat=trainer is not None and trainer.overfit_batches > 0,  # type: ignore[attr-defined]
            labels=self._labels_for_model("train"),
        )
        if trainer is not None:
            loader.load_state_dict({"batches": trainer.fit_loop.total_batch_idx + 1})
        return loader

    def eval_batches(self, split: str) -> EvalBatches:
        """Each image of a split once, in file order: this rank's share of them."""
        rank, world_size = self._rank()
        store = self.store(split)
        plan = EvalPlan(len(store), self.eval_batch_size, rank, world_size)
        return EvalBatches(store, plan, self.num_levels, self._device(), self._labels_for_model(split))

    def batches(self, split: str, indices: Iterable[Tensor]) -> Iterator[Tensor]:
        """The images of a split in each (B,) int64 tensor of `indices`: (B, C, H, W) in [-1, 1] on the device."""
        for levels in self.store(split).batches(indices, self._device()):
            yield to_float(levels, self.num_levels)

    def val_dataloader(self) -> EvalBatches | NoImages | list[EvalBatches]:
        """The test split. If it is empty, a fit gets no loader, and Lightning skips validation."""
        if self.sizes["test"]:
            return self.eval_batches("test")
        fitting = self.trainer is None or self.trainer.state.fn == "fit"
        return [] if fitting else NoImages(self.image_shape)

    def test_dataloader(self) -> EvalBatches | NoImages | list[EvalBatches]:
        """See `val_dataloader`."""
        return self.val_dataloader()

    def predict_dataloader(self) -> NoImages:
        """No images: predictions need none, or fetch them themselves."""
        return NoImages(self.image_shape)

    def _check_held_out(self) -> None:
        images, (_, ranks) = self.sizes["test"], self._rank()
        if self.eval_batch_size % ranks:
            raise ConfigError(indivisible("eval_batch_size", self.eval_batch_size, ranks))
        if 0 < images < ranks:
            raise ConfigError(f"{images} held-out images are too few for {ranks} devices; set more aside, or none")

    def _train_plan(self) -> TrainPlan:
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if self.seed is None else self.seed
        return TrainPlan(len(self.store("train")), self.batch_size, seed, *self._rank())

    def store(self, split: str) -> ImageStore:
        """The store of the images of a split, after `setup`."""
        if not self._stores:
            raise RuntimeError(f"{type(self).__name__}: call setup() before asking for its images")
        return self._stores[split]

    def _rank(self) -> tuple[int, int]:
        """The rank of this process and the number of ranks."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device


def _epoch_batches(trainer: Trainer | None, length: int) -> int:
    """How many of `length` batches make an epoch of the trainer, by Lightning's rules."""
    limit = 1.0 if trainer is None else trainer.limit_train_batches
    return max(1, min(length, limit) if isinstance(limit, int) else int(length * limit))


def check_channels(channels: int) -> None:
    """Raises ConfigError unless images have 1 channel (grey) or 3 (RGB)."""
    if channels not in (1, 3):
        raise ConfigError(f"channels: expected 1 for grey or 3 for RGB, got {channels}")
