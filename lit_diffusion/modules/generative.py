"""What the command line and the callbacks ask of every model."""

import os
from abc import ABC, abstractmethod

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from lit_diffusion.seeding import derive_seed, seed_generator

Batch = Tensor | tuple[Tensor, Tensor]  # examples (B, *), to models with labels with their labels (B,)


def split_labels(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """The examples and the labels of a batch, or the examples and None."""
    return (batch, None) if isinstance(batch, Tensor) else batch


class GenerativeModule(LightningModule, ABC):
    """A model of examples x_0 (B, *) that the command line trains, scores and samples.

    optimizer: called with the parameters.
    """

    optimizer: OptimizerCallable

    @abstractmethod
    def check(self, image_shape: tuple[int, ...], num_levels: int | None, num_classes: int | None) -> None:
        """Raises ConfigError unless the model takes examples of that shape and number of levels (None: real values),
        with labels of that number of classes (None: no labels).
        """

    @property
    def num_classes(self) -> int | None:
        """Of the labels that the model takes with its examples; None if it takes none."""
        return None

    @property
    def networks(self) -> list[nn.Module]:
        """The networks, whose layers take nearly all of the time: what `speed.compile` compiles."""
        return []

    @property
    def seed(self) -> int:
        """The run's seed, which `seed_everything` leaves in the environment for all processes; else 0."""
        return int(os.environ.get("PL_GLOBAL_SEED", 0))

    def sample_generator(self, block: int) -> torch.Generator:
        """The randomness of block number `block` of samples: a function of (seed, block), on the model's device."""
        return seed_generator(torch.Generator(self.device), derive_seed(self.seed, "sample", block))
