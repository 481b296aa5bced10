"""What all that `lightning predict` makes has in common."""

from abc import ABC, abstractmethod
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_diffusion.callbacks.ema import averaged
from lit_diffusion.callbacks.evaluation import evaluating
from lit_diffusion.errors import ConfigError


class Prediction(Callback, ABC):
    """Makes files in `predict/` of the run's folder when `lightning predict` runs; does nothing in other commands.

    `predict` runs once, on all ranks, with the EMA weights in place and the module in evaluation mode. What it writes
    is a function of the weights, the settings and the seed, whatever the number of devices.
    """

    def runs_in(self, command: str) -> bool:
        """Whether that command, of fit, validate, test and predict, makes something."""
        return command == "predict"

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        with evaluating(trainer, pl_module, "sampling"), averaged(trainer, pl_module):
            self.predict(trainer, pl_module)

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raises ConfigError for all that would stop `predict`, before it starts. The data must be set up."""
        shape = trainer.datamodule.image_shape
        if len(shape) != 3:
            raise ConfigError(
                f"{type(self).__name__} shows images, and the data's examples have the shape {tuple(shape)}; write "
                "Samples, Inpaint or Denoise"
            )
        channels = shape[0]
        if channels not in (1, 3):
            raise ConfigError(
                f"{type(self).__name__} writes grey or RGB pictures, but the data's images have {channels} channels; "
                "write data of 1 or 3"
            )

    @abstractmethod
    def predict(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Makes the files, with `written_whole`, on the first rank."""

    @staticmethod
    def folder(trainer: Trainer) -> Path:
        """Where the files go."""
        return Path(trainer.default_root_dir) / "predict"
