"""What a callback finds in the trainer that runs it: other callbacks, the data, the model."""

from typing import TypeVar, cast

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_diffusion.data.image_data import ImageData
from lit_diffusion.modules.diffusion import DiffusionModule
from lit_diffusion.modules.generative import GenerativeModule

Kind = TypeVar("Kind", bound=Callback)


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """The trainer's callbacks, in their order."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it without declaring it
    return callbacks


def find_callback(trainer: Trainer, kind: type[Kind]) -> Kind | None:
    """The first of the trainer's callbacks that is a `kind`, or None."""
    return next((callback for callback in callbacks_of(trainer) if isinstance(callback, kind)), None)


def data_of(trainer: Trainer) -> ImageData:
    """The trainer's data module, which the command line checks to be an ImageData."""
    return cast(ImageData, trainer.datamodule)  # type: ignore[attr-defined]  # Lightning sets it without declaring it


def log_interval_of(trainer: Trainer) -> int:
    """Every how many steps the trainer logs."""
    return cast(int, trainer.log_every_n_steps)  # type: ignore[attr-defined]  # Lightning sets it without declaring it


def is_trial(trainer: Trainer) -> bool:
    """Whether `trainer.fast_dev_run` is set: the run is a step or a few, and nothing of it is kept."""
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]  # Lightning sets it without declaring it


def diffusion_of(pl_module: LightningModule) -> DiffusionModule:
    """The module as a DiffusionModule, which the command line checks it to be."""
    return cast(DiffusionModule, pl_module)


def generative_of(pl_module: LightningModule) -> GenerativeModule:
    """The module as a GenerativeModule, the base class of all that the command line takes."""
    return cast(GenerativeModule, pl_module)
