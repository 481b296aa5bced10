"""Exponential moving average of the weights: what is validated, tested, sampled and exported."""

from collections.abc import Iterator
from contextlib import AbstractContextManager as ContextManager
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lit_diffusion.callbacks.divergence import divergence_of
from lit_diffusion.callbacks.lookup import find_callback, is_trial
from lit_diffusion.errors import ConfigError
from lit_diffusion.runs.notice import notice

LARGEST_SHARE = 0.1  # of the first weights in the average at the end
PREFIX = "module."  # of the weights in an AveragedModel's state


class EMA(Callback):
    """average = decay * average + (1 - decay) * weights after every step; the first step copies.

    A run that is too short for its decay says so at its start, and at its end if it ended earlier than expected.

    decay: in [0, 1), 0.9999 in Ho et al. 2020, appendix B; 0 evaluates the raw weights. During validation and tests and
    inside `applied` the module holds the average. The two are exchanged back on any exit, and a checkpoint saved in
    between knows which is which: its `state_dict` is the average, its `current_model_state` the raw weights.
    """

    def __init__(self, decay: float = 0.9999):
        if not 0 <= decay < 1:
            raise ConfigError(f"decay: expected a number in [0, 1), got {decay:g}; use 0.9999, or 0 for raw weights")
        self.decay = decay
        self._update = get_ema_multi_avg_fn(decay)
        self._average: AveragedModel | None = None
        self._averaged: LightningModule | None = None  # whose weights the average is of
        self._updates = 0  # also in `_average.n_averaged`, which a GPU would have to be waited for
        self._latest_step = 0
        self._first_share = 1.0  # of the weights after the first step in the average
        self._expected_updates = 0.0
        self._applied = False
        self._tensors: tuple[list[Tensor], ...] = ()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.precision in ("64-true", "bf16-true", "16-true"):
            raise ConfigError(
                f"expected a precision that keeps float32 weights to average, got {trainer.precision}; use bf16-mixed "
                "or 32-true",
                key="trainer.precision",
            )
        if isinstance(trainer.strategy, DeepSpeedStrategy | FSDPStrategy | ModelParallelStrategy):
            raise ConfigError(
                f"expected whole weights on every device, got {type(trainer.strategy).__name__}, which shards them; "
                "use ddp",
                key="trainer.strategy",
            )
        anew = stage == "fit" and trainer.global_step == 0  # else the average goes on, as in a test after a fit
        if anew or self._average is None or self._averaged is not pl_module:
            self._average = AveragedModel(pl_module, pl_module.device, multi_avg_fn=self._update, use_buffers=False)
            self._averaged, self._updates, self._latest_step, self._first_share = pl_module, 0, 0, 1.0
        self._average.to(pl_module.device)
        self._tensors = ()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warns of an average that is too slow for so short a run."""
        left = trainer.estimated_stepping_batches - trainer.global_step
        updates = self._expected_updates = self._updates + left
        share = self._first_share * self.decay ** max(left if self._updates else left - 1, 0)
        if share > LARGEST_SHARE and updates > 1 and not is_trial(trainer):
            fitting = fitting_decay(left or updates)
            notice(
                f"ema.decay: {share:.0%} of the average at the end of training will be the weights after the first "
                f"step, since {updates:.0f} steps are few for a decay of {self.decay:g}; use {fitting:g}"
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same of a run whose length was not known, or that ended before it."""
        early = 1 < self._updates < self._expected_updates
        if early and self._first_share > LARGEST_SHARE and not divergence_of(trainer):
            notice(
                f"ema.decay: {self._first_share:.0%} of the average is the weights after the first step, since "
                f"{self._updates} steps were few for a decay of {self.decay:g}; use {fitting_decay(self._updates):g} "
                "for so short a run"
            )

    @property
    def average(self) -> AveragedModel:
        """The average and how many updates it has seen; exists from `setup` on."""
        if self._average is None:
            raise RuntimeError("EMA has no average before setup()")
        return self._average

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Updates the average, on lists of tensors made once: walking all modules costs more than averaging."""
        if trainer.global_step <= self._latest_step:
            return  # several batches may go into a step
        self._latest_step = trainer.global_step
        model = self.average
        self._tensors = self._tensors or tuple(
            [*tensors] for module in (model.module, pl_module) for tensors in (module.parameters(), module.buffers())
        )
        average, average_buffers, raw, raw_buffers = self._tensors
        if self._updates == 0:
            copy(raw, average)
        else:
            self._update(average, raw, model.n_averaged)
            self._first_share *= self.decay
        copy(raw_buffers, average_buffers)
        model.n_averaged += 1
        self._updates += 1

    @property
    def holds_average(self) -> bool:
        """Whether the module holds the average at this moment."""
        return self._applied

    @contextmanager
    def applied(self, pl_module: LightningModule) -> Iterator[None]:
        """The module holds the average inside the context, and afterwards what it held before, even after errors."""
        with self._holding(pl_module, True):
            yield

    @contextmanager
    def raw(self, pl_module: LightningModule) -> Iterator[None]:
        """The same for the raw weights, such as for a score of theirs next to that of the average."""
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

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._exchange(pl_module, False)

    def state_dict(self) -> dict[str, Any]:
        """The step of the latest update, and how much of the first weights is left."""
        return {"latest_update_step": self._latest_step, "first_share": self._first_share}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._latest_step = state_dict["latest_update_step"]
        unchanged = self.decay ** max(self._updates - 1, 0)  # of checkpoints of 0.1.0
        self._first_share = state_dict.get("first_share", unchanged)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        state = self.average.state_dict()
        held = checkpoint["state_dict"]
        kept = {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
        average, raw = (held, kept) if self._applied else (kept, held)
        checkpoint["state_dict"], checkpoint["current_model_state"] = average, raw
        checkpoint["averaging_state"] = {k: value for k, value in state.items() if not k.startswith(PREFIX)}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Raw weights to the module, the average here; both from `state_dict` if the file has no average."""
        if "current_model_state" in checkpoint and "averaging_state" in checkpoint:
            weights = {f"{PREFIX}{name}": value for name, value in checkpoint["state_dict"].items()}
            self.average.load_state_dict({**weights, **checkpoint["averaging_state"]})
            pl_module.load_state_dict(checkpoint["current_model_state"])
        else:
            self.average.module.load_state_dict(checkpoint["state_dict"], strict=False)
        self._updates = int(self.average.n_averaged)

    @torch.no_grad()
    def _exchange(self, pl_module: LightningModule, applied: bool) -> None:
        if self.decay == 0 or self._updates == 0 or applied == self._applied:
            return
        for average, held in zip(tensors_of(self.average.module), tensors_of(pl_module)):
            before = average.data.clone()
            average.data.copy_(held.data)
            held.data.copy_(before)
        self._applied = applied


def fitting_decay(updates: float) -> float:
    """A decay that leaves less than 2% of the first weights after so many updates."""
    return 1 - float(f"{5 / updates:.1g}") if updates > 10 else 0


def tensors_of(module: nn.Module) -> Iterator[Tensor]:
    """Parameters, then buffers."""
    return chain(module.parameters(), module.buffers())


def copy(source: list[Tensor], target: list[Tensor]) -> None:
    """Copies values, tensor by tensor."""
    for one, other in zip(source, target):
        other.copy_(one)


def averaged(trainer: Trainer, pl_module: LightningModule) -> ContextManager[None]:
    """The EMA callback's `applied`, if the trainer has one; else the module as it is."""
    ema = find_callback(trainer, EMA)
    return nullcontext() if ema is None else ema.applied(pl_module)


def weights_in_use(trainer: Trainer) -> str:
    """ "ema" while the module holds an average, else "raw"."""
    ema = find_callback(trainer, EMA)
    return "ema" if ema is not None and ema.holds_average else "raw"
