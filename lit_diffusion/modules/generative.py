"""What the command line and the callbacks ask of every model."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from lit_diffusion.baselines.hierarchical_vae import HierarchicalVAE
from lit_diffusion.diffusion.process import Process
from lit_diffusion.diffusion.sampler import Sampler, Step
from lit_diffusion.errors import ConfigError
from lit_diffusion.modules.likelihood_bound import LikelihoodBound
from lit_diffusion.seeding import derive_seed, seed_generator

Batch = Tensor | tuple[Tensor, Tensor]  # examples (B, *), to models with labels with their labels (B,)


def split_labels(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """The examples and the labels of a batch, or the examples and None."""
    return (batch, None) if isinstance(batch, Tensor) else batch


def ignore(_: Any) -> None:
    """Takes progress, or a step of a chain, that nobody asked for."""


class GenerativeModule(LightningModule, ABC):
    """A model of examples x_0 (B, *) that the command line trains, scores and samples.

    Callbacks ask it for two things: it *draws samples*, by `draw` and `describe_samples`, and, if it can, it *bounds
    the likelihood*, by `bound`.

    optimizer: called with the parameters. sampler: how examples are drawn, if the model has a choice. has_reverse:
    whether `reverse` is a reverse model of the examples themselves, as some predictions need. latent_model: encodes
    examples into latents, as others need; None if the model has none. loss_ranks_steps: whether the model is better
    where `val/loss` is lower.
    """

    optimizer: OptimizerCallable
    sampler: Sampler | None = None
    has_reverse = False
    latent_model: HierarchicalVAE | None = None
    loss_ranks_steps = True

    @abstractmethod
    def check(self, image_shape: tuple[int, ...], num_levels: int | None, num_classes: int | None) -> None:
        """Raises ConfigError unless the model takes examples of that shape and number of levels (None: real values),
        with labels of that number of classes (None: no labels).
        """

    def check_data(self, name: str) -> None:
        """Raises ConfigError unless the model may be trained on the data set of that class."""

    def check_trainer(self, trainer: Trainer, batch_size: int) -> None:
        """Raises ConfigError unless the trainer can train the model with batches of that size, of all devices."""

    @property
    def failure(self) -> str | None:
        """Why training has failed by a criterion of the model's own, whatever its loss; equal on all ranks."""
        return None

    @abstractmethod
    def draw(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator,
        label: Tensor | None = None,
        sampler: Sampler | None = None,
        advance: Callable[[float], None] = ignore,
        observe: Callable[[Step], None] = ignore,
    ) -> Tensor:
        """Samples x_0 of `shape` (B, *), all randomness from `generator`, given labels (B,) if the model takes any.

        sampler: by default the module's. advance: called during the work with the share that has been done; the shares
        add up to 1. observe: called with each step of `chain_steps`.
        """

    @abstractmethod
    def describe_samples(self, sampler: Sampler | None = None) -> dict[str, Any]:
        """What `draw` depends on besides weights, seed and shape: a part of the protocol of scores, with `nfe`, the
        network's evaluations for a sample.
        """

    def check_sampler(self, sampler: Sampler | None) -> None:
        """Raises ConfigError unless `draw` takes this sampler."""
        if sampler is not None:
            raise ConfigError(
                f"expected null, since {type(self).__name__} draws samples without a sampler, got "
                f"{type(sampler).__name__}"
            )

    def predict_step(self, batch: Batch, batch_index: int) -> None:
        """Does nothing: predictions draw from the model themselves."""

    def adapt(self, sampler: Sampler | None, most_steps: int | None = None) -> Sampler | None:
        """A sampler for `draw` that takes at most as many steps as the model has, and as `most_steps`; None stands for
        the module's own.
        """
        return sampler

    def chain_steps(self, sampler: Sampler | None = None) -> Sequence[int]:
        """The steps of the chain of examples that `draw` shows to `observe`, ascending; empty if there is none."""
        return ()

    def bound(
        self, terms: int | None, num_examples: int, device: torch.device, half_range: float = 127.5
    ) -> LikelihoodBound:
        """An empty bound on -log p of `num_examples` examples, whose sums are on a device with float64.

        terms: steps of a diffusion model that are evaluated for each example; None for all. half_range: half the range
        of the examples' values, which errors are stated on; 127.5 for the scale 0..255.

        Raises ConfigError if the model bounds no likelihood.
        """
        raise ConfigError(
            f"expected [], since {type(self).__name__} has no likelihood, and no bound on it", key="bits_per_dim.splits"
        )

    def build_optimizers(self) -> list[Optimizer]:
        """New optimizers, in the order of their states in checkpoints."""
        return [self.optimizer(self.trained_parameters())]

    def trained_parameters(self) -> list[nn.Parameter]:
        """The parameters that `optimizer` gets."""
        return [*self.parameters()]

    @property
    def process(self) -> Process | None:
        """The forward process of the examples, if there is one."""
        return None

    @property
    def num_classes(self) -> int | None:
        """Of the labels that the model takes with its examples; None if it takes none."""
        return None

    @property
    def networks(self) -> list[nn.Module]:
        """The networks, whose layers take nearly all of the time: what `speed.compile` compiles."""
        return []

    def network_batches(self, batch_size: int) -> set[int]:
        """The sizes of the batches of networks in a step that takes a batch of examples."""
        return {batch_size}

    @property
    def seed(self) -> int:
        """The run's seed, which `seed_everything` leaves in the environment for all processes; else 0."""
        return int(os.environ.get("PL_GLOBAL_SEED", 0))

    def sample_generator(self, block: int) -> torch.Generator:
        """The randomness of block number `block` of samples: a function of (seed, block), on the model's device."""
        return seed_generator(torch.Generator(self.device), derive_seed(self.seed, "sample", block))


class DrawsAtOnce(GenerativeModule):
    """A model whose samples need no chain of steps, and so neither a sampler nor labels."""

    def draw(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator,
        label: Tensor | None = None,
        sampler: Sampler | None = None,
        advance: Callable[[float], None] = ignore,
        observe: Callable[[Step], None] = ignore,
    ) -> Tensor:
        x_0 = self.draw_at_once(shape, generator)
        advance(1.0)
        return x_0

    @abstractmethod
    def draw_at_once(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Samples x_0 of `shape` (B, *), all randomness from `generator`."""
