"""Iterables of float image batches, scaled and flipped on the device, one batch at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

from lit_diffusion.data.batch_plans import EvalPlan, TrainPlan
from lit_diffusion.data.store import ImageStore, to_device
from lit_diffusion.pixels import to_float

Batch = Tensor | tuple[Tensor, Tensor]


def with_labels(x: Tensor, labels: Tensor | None, indices: Tensor) -> Batch:
    """The images x (B, *) alone or, with the labels of all images, as a pair with their own, (B,) on their device."""
    return x if labels is None else (x, to_device(labels[indices], x.device))


class TrainBatches:
    """Training batches, (B, C, H, W) float32 in [-1, 1]: an endless numbered stream, divided into epochs.

    Each iteration continues where the last one stopped, up to the end of that epoch: after `load_state_dict` of a state
    saved within an epoch, the first iteration finishes this epoch. The state is the number of batches served since the
    start of training; nothing else is needed, because the plan is a pure function of it.

    epoch_batches: batches per epoch as counted by the caller (Lightning's `limit_train_batches` shortens epochs), by
    default those of the plan; the stream does not depend on it. repeat: every epoch serves the batches of the first
    (Lightning's `overfit_batches`). labels: (N,) int64 on the CPU; with them, batches are pairs (images, labels (B,)).
    """

    def __init__(
        self,
        store: ImageStore,
        plan: TrainPlan,
        num_levels: int | None,
        device: torch.device,
        flip: bool = False,
        epoch_batches: int | None = None,
        repeat: bool = False,
        labels: Tensor | None = None,
    ):
        self.labels = labels
        self.store, self.plan, self.num_levels, self.device, self.flip = store, plan, num_levels, device, flip
        self.epoch_batches, self.repeat = epoch_batches or len(plan), repeat
        self._served = 0

    def __len__(self) -> int:
        """Batches in a whole epoch of the data, to which Lightning applies its own limits."""
        return len(self.plan)

    def __iter__(self) -> Iterator[Batch]:
        numbers = range(self._served, (self._served // self.epoch_batches + 1) * self.epoch_batches)
        planned = [n % self.epoch_batches for n in numbers] if self.repeat else numbers
        levels = self.store.batches(map(self.plan.indices, planned), self.device)
        for number, batch in zip(planned, levels):
            x = to_float(batch, self.num_levels)
            if self.flip:
                mirrored = to_device(self.plan.flips(number), self.device)[:, None, None, None]  # (B, 1, 1, 1)
                x = torch.where(mirrored, x.flip(-1), x)
            self._served += 1  # before the yield: a checkpoint of the step on this batch must count it
            yield with_labels(x, self.labels, self.plan.indices(number))

    def state_dict(self) -> dict[str, int]:
        """Number of batches served since the start of training."""
        return {"batches": self._served}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continues after the batches counted in a `state_dict`."""
        self._served = state["batches"]


class EvalBatches:
    """Each image of a split once, in file order, unflipped: batches (B, C, H, W) float32 in [-1, 1], with labels (B,)
    as those of `TrainBatches`.
    """

    def __init__(
        self,
        store: ImageStore,
        plan: EvalPlan,
        num_levels: int | None,
        device: torch.device,
        labels: Tensor | None = None,
    ):
        self.store, self.plan, self.num_levels, self.device = store, plan, num_levels, device
        self.labels = labels

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Batch]:
        numbers = range(len(self))
        for number, levels in zip(numbers, self.store.batches(map(self.plan.indices, numbers), self.device)):
            yield with_labels(to_float(levels, self.num_levels), self.labels, self.plan.indices(number))


class NoImages:
    """One empty batch: Lightning calls the hooks of an evaluation only if there are batches."""

    def __init__(self, image_shape: tuple[int, ...]):
        self.image_shape = image_shape

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Tensor]:
        yield torch.empty(0, *self.image_shape)
