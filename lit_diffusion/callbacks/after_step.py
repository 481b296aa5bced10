"""What is evaluated between two steps of training."""

from abc import ABC, abstractmethod
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class AfterStep(Callback, ABC):
    """A callback that looks at the model between two steps.

    The training loop asks it after every step, and saves the step before anything is evaluated: a run resumed there
    evaluates again, to the same result. In a Trainer with Lightning's own loops it runs like any other callback.
    """

    @abstractmethod
    def due(self, trainer: Trainer) -> bool:
        """Whether there is something to do after this step; equal on all ranks."""

    @abstractmethod
    def after_step(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Does it, on all ranks at once."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if hasattr(trainer.fit_loop.epoch_loop, "evaluated"):
            return  # our loop asks by itself
        updated = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch
        if updated and self.due(trainer):
            self.after_step(trainer, pl_module)
