"""How a reverse model is trained on an objective, and sampled."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torch.optim import Adam

from lit_diffusion.diffusion.objective import Objective
from lit_diffusion.diffusion.process import Process
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.sampler import Sampler, Step
from lit_diffusion.errors import ConfigError, blamed_on
from lit_diffusion.modules.generative import ignore
from lit_diffusion.modules.likelihood_bound import DiffusionBound
from lit_diffusion.modules.loss_module import LinearWarmup, LossModule

UNUSED = {"spacing": "uniform", "guidance_scale": 0.0}  # settings of samplers that a protocol names when they act


class DiffusionModule(LossModule):
    """Trains `reverse` on `objective`; `sampler` is how images are drawn from it. The rest: see `LossModule`."""

    sampler: Sampler
    has_reverse = True

    def __init__(
        self,
        reverse: ReverseModel,
        objective: Objective,
        sampler: Sampler,
        optimizer: OptimizerCallable = Adam,
        lr_schedule: LRSchedulerCallable = LinearWarmup,
    ):
        super().__init__(optimizer, lr_schedule)
        with blamed_on("model.sampler"):
            sampler.check_model(reverse)
        objective.bind(reverse)
        self.reverse = reverse
        self.objective = objective
        self.sampler = sampler

    @property
    def process(self) -> Process | None:
        return self.reverse.process

    @property
    def networks(self) -> list[nn.Module]:
        network = getattr(self.reverse, "network", None)
        return [] if network is None else [network]

    @property
    def num_classes(self) -> int | None:
        return self.reverse.num_classes

    def check(self, image_shape: tuple[int, ...], num_levels: int | None, num_classes: int | None) -> None:
        self.reverse.check(image_shape, num_levels)
        if self.num_classes not in (None, num_classes):
            raise ConfigError(
                f"expected {num_classes or 'null'}, the number of the data's classes, got {self.num_classes}",
                key="model.reverse.network.num_classes",
            )

    def loss(self, x_0: Tensor, label: Tensor | None, randomness: Sequence[Any] | None = None) -> Tensor:
        return self.objective(self.reverse.given(label), x_0, randomness and tuple(randomness))

    def draw_randomness(self, x_0: Tensor) -> Sequence[Any]:
        return self.objective.draw(self.reverse, x_0)

    def draw(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator,
        label: Tensor | None = None,
        sampler: Sampler | None = None,
        advance: Callable[[float], None] = ignore,
        observe: Callable[[Step], None] = ignore,
    ) -> Tensor:
        return self.draw_from(self.reverse.given(label), shape, generator, sampler, advance, observe)

    def draw_from(
        self,
        reverse: ReverseModel,
        shape: tuple[int, ...],
        generator: torch.Generator,
        sampler: Sampler | None = None,
        advance: Callable[[float], None] = ignore,
        observe: Callable[[Step], None] = ignore,
    ) -> Tensor:
        """Like `draw`, from another reverse model with the same process."""
        sampler = sampler or self.sampler
        share = 1 / len(sampler.subset(reverse.process.schedule))
        x = reverse.process.prior(self.chain_shape(shape), reverse.device).sample(generator)
        for step in sampler.chain(reverse, x, generator):
            x = step.x_s
            if self.has_reverse:
                observe(step)
            advance(share)
        return self.outcome(x, generator)

    def chain_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of the chain's states, for examples of `shape` (B, *)."""
        return shape

    def outcome(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Examples x_0 (B, *) from the last state of the chain."""
        return x

    def check_sampler(self, sampler: Sampler | None) -> None:
        (sampler or self.sampler).check_model(self.reverse)

    def adapt(self, sampler: Sampler | None, most_steps: int | None = None) -> Sampler | None:
        if most_steps is not None and sampler is None:
            sampler = copy.copy(self.sampler)
            sampler.steps = min(most_steps, self.reverse.num_steps)
            try:
                sampler.check_model(self.reverse)
            except ConfigError:  # the model cannot skip any
                return None
        return sampler and sampler.shortened(self.reverse.num_steps)

    def chain_steps(self, sampler: Sampler | None = None) -> Sequence[int]:
        return (sampler or self.sampler).subset(self.reverse.process.schedule)

    def describe_samples(self, sampler: Sampler | None = None) -> dict[str, Any]:
        sampler = sampler or self.sampler
        return {
            "sampler": type(sampler).__name__,
            **{name: value for name, value in vars(sampler).items() if UNUSED.get(name) != value},
            "nfe": sampler.nfe(self.reverse.process.schedule),
            "T": self.reverse.num_steps,
            **self.reverse.protocol,
        }

    def bound(
        self, terms: int | None, num_examples: int, device: torch.device, half_range: float = 127.5
    ) -> DiffusionBound:
        if scale := self.sampler.guidance_scale:
            raise ConfigError(
                f"expected [], since model.sampler.guidance_scale is {scale:g} and a guided model has no "
                "likelihood; or set guidance_scale: 0 for the bound of the model given the labels",
                key="bits_per_dim.splits",
            )
        return DiffusionBound(self.reverse, terms, num_examples, device, half_range)
