"""A bound on -log p of many examples, summed up in parts by any number of devices."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lit_diffusion.diffusion.bound_estimate import BoundEstimate, BoundSums, Curve, Estimate, cut_strata, estimate
from lit_diffusion.diffusion.reverse import ReverseModel


class BoundScore(NamedTuple):
    """A score that a bound yields, and what is particular to it: entries of its protocol."""

    estimate: Estimate
    protocol: dict[str, Any]


class LikelihoodBound(ABC):
    """Sums over pairs of an example and one of its `parts`, such as terms or draws: pair n is of example n // parts.

    Sums over parts of the pairs add up to those over all, so that devices share the pairs. parts: pairs an example.
    """

    parts: int

    @abstractmethod
    def add(self, x_0: Tensor, label: Tensor | None, pairs: range, generator: torch.Generator) -> None:
        """Evaluates pairs, in one batch. x_0: (N, *), the examples of these pairs, each once, with their labels (N,) if
        the model takes any. All randomness comes from `generator`.
        """

    @abstractmethod
    def add_constant(self, nats: float, dimensions: int) -> None:
        """Adds nats to every example of so many dimensions, as the last step: for values that were served on another
        scale than they are measured on.
        """

    @abstractmethod
    def reduce(self, add_up: Callable[[Tensor], Tensor]) -> None:
        """Replaces the sums, float64 tensors, by those of all devices."""

    @abstractmethod
    def per_example(self) -> Tensor:
        """The bound of each example in bits/dim, (N,), which `bits_per_dim` is the mean of."""

    @abstractmethod
    def scores(self) -> dict[str, BoundScore]:
        """The scores by name, `bits_per_dim` first: all in bits/dim unless their protocol has another unit."""

    @abstractmethod
    def terms(self) -> dict[str, Estimate]:
        """The bound, `total`, and what it consists of, for files and for people; in bits/dim but for `rmse`."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """How the bound is measured: entries of the protocol of all its scores, with `terms` or `draws`."""

    def curve(self) -> Curve | None:
        """The bound by steps, if it has any."""
        return None


class DiffusionBound(LikelihoodBound):
    """The bound of a reverse model, from all terms or an unbiased estimate from a few an image: see `BoundSums`.

    half_range: half the range of values, for an RMSE on their scale.
    """

    def __init__(
        self, reverse: ReverseModel, terms: int | None, num_examples: int, device: torch.device, half_range: float
    ):
        self.reverse, self.half_range = reverse, half_range
        first = cut_strata(reverse.process.schedule, terms)
        self.sums, self.parts = BoundSums(first, num_examples, device), len(first) - 1

    def add(self, x_0: Tensor, label: Tensor | None, pairs: range, generator: torch.Generator) -> None:
        self.sums.add(self.reverse.given(label), x_0, pairs, generator)

    def add_constant(self, nats: float, dimensions: int) -> None:
        self.sums.add_constant(nats, dimensions)

    def reduce(self, add_up: Callable[[Tensor], Tensor]) -> None:
        self.sums.images, self.sums.strata = add_up(self.sums.images), add_up(self.sums.strata)

    def per_example(self) -> Tensor:
        return self.sums.images.sum(1).cpu()

    def scores(self) -> dict[str, BoundScore]:
        return {"bits_per_dim": BoundScore(self.estimate.total, {})}

    def terms(self) -> dict[str, Estimate]:
        bound = self.estimate
        return {
            "total": bound.total,
            "L_T": bound.prior_kl,
            "L_1..T-1": bound.diffusion_kl,
            "L_0": bound.reconstruction_nll,
            "rate": bound.rate,
            "rmse": bound.rmse,
        }

    def describe(self) -> dict[str, Any]:
        num_steps = self.reverse.num_steps
        return {"terms": "all" if self.parts == num_steps else self.parts, "T": num_steps, **self.reverse.protocol}

    def curve(self) -> Curve | None:
        return self.estimate.curve

    @property
    def estimate(self) -> BoundEstimate:
        """The bound with standard errors."""
        return estimate(self.sums, self.half_range)
