"""What is evaluated between two steps of training."""

from abc import ABC, abstractmethod

from lightning.pytorch import Callback, LightningModule, Trainer


class AfterStep(Callback, ABC):
    """A callback that looks at the model between two steps. The training loop asks it after every step, and saves the
    step before anything is evaluated: a run that goes on from there evaluates again, to the same result.
    """

    @abstractmethod
    def due(self, trainer: Trainer) -> bool:
        """Whether there is something to do after this step; equal on all ranks."""

    @abstractmethod
    def after_step(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Does it, on all ranks at once."""
