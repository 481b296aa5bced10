"""What everything that `lightning predict` makes has in common."""

from abc import ABC, abstractmethod
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lit_diffusion.callbacks.ema import averaged
from lit_diffusion.callbacks.evaluation import evaluating
from lit_diffusion.callbacks.lookup import data_of, diffusion_of, generative_of
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError, blamed_on


class Prediction(Callback, ABC):
    """Writes files to `predict/` in the run folder when `lightning predict` runs; does nothing in other commands.

    `predict` runs once, on all ranks, with the EMA weights in place and the module in evaluation mode. What it writes
    is a function of the weights, the settings and the seed, on any number of devices.
    images_only: whether the examples must be images. needs_reverse: whether the model must have a reverse model of
    them. sampler: that of the module if None.
    """

    images_only = True
    needs_reverse = True
    sampler: Sampler | None = None

    def runs_in(self, command: str) -> bool:
        """Whether `command` (fit, validate, test or predict) makes something."""
        return command == "predict"

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        with evaluating(trainer, pl_module, "sampling"), averaged(trainer, pl_module), blamed_on("prediction"):
            self.predict(trainer, pl_module)

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raises ConfigError for anything that would stop `predict`, before it starts. The data must be set up."""
        shape, name = data_of(trainer).image_shape, type(self).__name__
        if self.images_only and len(shape) != 3:
            raise ConfigError(
                f"{name} needs images, but the data's examples have shape {tuple(shape)}; use Samples, Inpaint or "
                "Denoise"
            )
        module = generative_of(pl_module)
        if self.needs_reverse and not module.has_reverse:
            raise ConfigError(
                f"{name} needs a diffusion model of the examples, got {type(module).__name__}; use Samples"
                + (f", or Latent{name}" if module.latent_model and name in ("Reconstruct", "Interpolate") else "")
            )
        with blamed_on("prediction.sampler" if self.sampler else "model.sampler"):
            module.check_sampler(self.sampler)

    @abstractmethod
    def predict(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the files, with `written_whole`, on the first rank."""

    def make(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Tensor]:
        """What `predict` writes to an NPZ file, by name: images (*, C, H, W) as the model sees them, on the device.

        Raises ConfigError if the prediction writes no such file.
        """
        raise ConfigError(f"{type(self).__name__} makes no arrays; use one that does, such as Reconstruct")

    def sampler_for(self, pl_module: LightningModule) -> Sampler:
        """The sampler that draws for this module."""
        return self.sampler or diffusion_of(pl_module).sampler

    @staticmethod
    def folder(trainer: Trainer) -> Path:
        """Where the files go."""
        return Path(trainer.default_root_dir) / "predict"
