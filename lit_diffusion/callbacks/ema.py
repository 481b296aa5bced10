"""Exponential moving average of the weights: what is validated, tested, sampled and exported."""

from collections.abc import Iterator
from contextlib import AbstractContextManager as ContextManager
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lit_diffusion.errors import ConfigError


class EMA(WeightAveraging):
    """average = decay * average + (1 - decay) * weights after every step; the first step copies.

    decay: in [0, 1), 0.9999 in Ho et al. 2020, appendix B; 0 evaluates the raw weights. While validation and tests
    run, and inside `applied`, the module holds the average. The two are exchanged back on any exit, and a checkpoint
    saved in between knows which is which: its `state_dict` is the average, its `current_model_state` the raw weights.
    """

    def __init__(self, decay: float = 0.9999):
        if not 0 <= decay < 1:
            raise ConfigError(f"EMA's decay is {decay:g}; write a number in [0, 1), as 0.9999, or 0 for raw weights")
        super().__init__(use_buffers=False, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.decay = decay
        self._applied = False
        self._tensors: tuple[list[Tensor], ...] = ()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.precision in ("64-true", "bf16-true", "16-true"):
            raise ConfigError(
                f"{trainer.precision} keeps no float32 weights to average; write bf16-mixed or 32-true",
                key="trainer.precision",
            )
        super().setup(
            trainer, pl_module, "fit"
        )  # the parent knows an average in fits only, and here both can be scored

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The parent's update, on lists made once: walking through all modules costs more than averaging."""
        if trainer.global_step <= self._latest_update_step:
            return  # several batches may go into a step
        self._latest_update_step = trainer.global_step
        model = self._average_model
        self._tensors = self._tensors or tuple(
            [*tensors] for module in (model.module, pl_module) for tensors in (module.parameters(), module.buffers())
        )
        average, average_buffers, raw, raw_buffers = self._tensors
        if model.n_averaged == 0:
            torch._foreach_copy_(average, raw)
        else:
            model.multi_avg_fn(average, raw, model.n_averaged)
        for to, origin in zip(average_buffers, raw_buffers):
            to.copy_(origin)
        model.n_averaged += 1

    @property
    def holds_average(self) -> bool:
        """Whether the module holds the average at this moment."""
        return self._applied

    @contextmanager
    def applied(self, pl_module: LightningModule) -> Iterator[None]:
        """The module holds the average inside the context, and what it held before after it, errors included."""
        with self._holding(pl_module, True):
            yield

    @contextmanager
    def raw(self, pl_module: LightningModule) -> Iterator[None]:
        """The same for the raw weights, as for a score of theirs beside that of the average."""
        with self._holding(pl_module, False):
            yield

    @contextmanager
    def _holding(self, pl_module: LightningModule, applied: bool) -> Iterator[None]:
        before = self._applied
        self._exchange(pl_module, applied)
        try:
            yield
        finally:
            self._exchange(pl_module, before)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._exchange(pl_module, True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._exchange(pl_module, False)

    on_test_start, on_test_end = on_validation_start, on_validation_end
    on_predict_start, on_predict_end = on_validation_start, on_validation_end

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing: the parent exchanges here, too late for callbacks that look at the weights at the start."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing: the parent exchanges back here, too early for callbacks that score at the end of validation."""

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._exchange(pl_module, False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing: the parent copies the average over the raw weights, which a last checkpoint still needs."""

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._applied:
            average, raw = checkpoint["current_model_state"], checkpoint["state_dict"]
            checkpoint["state_dict"], checkpoint["current_model_state"] = average, raw

    def _exchange(self, pl_module: LightningModule, applied: bool) -> None:
        averages = self.decay > 0 and self._average_model is not None
        updated = averages and int(self._average_model.n_averaged) > 0
        if updated and applied != self._applied:
            self._swap_models(pl_module)
            self._applied = applied


def averaged(trainer: Trainer, pl_module: LightningModule) -> ContextManager[None]:
    """The EMA callback's `applied`, if the trainer has one; else the module as it is."""
    ema = ema_of(trainer)
    return nullcontext() if ema is None else ema.applied(pl_module)


def ema_of(trainer: Trainer) -> EMA | None:
    """The trainer's EMA callback."""
    return next((callback for callback in trainer.callbacks if isinstance(callback, EMA)), None)


def weights_in_use(trainer: Trainer) -> str:
    """ "ema" while the module holds an average, else "raw"."""
    ema = ema_of(trainer)
    return "ema" if ema is not None and ema.holds_average else "raw"
