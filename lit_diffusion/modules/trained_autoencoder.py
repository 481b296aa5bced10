"""An autoencoder from a run that was trained before: what diffusion in latents starts from."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn

from lit_diffusion.baselines.vae import VAE
from lit_diffusion.config import untrusted_yaml
from lit_diffusion.config.keys import last_part
from lit_diffusion.diffusion.distributions import Gaussian
from lit_diffusion.errors import ConfigError, first_words
from lit_diffusion.modules.generative import GenerativeModule
from lit_diffusion.runs import checkpoint_files

KEY = "model.autoencoder.run"


class Autoencoder(nn.Module, ABC):
    """q(z | x_0) and p(x_0 | z), fixed.

    shape, latent_shape: of an example x_0 and of z. data: the class of the data set that it was trained on; empty if
    it fits any.
    """

    shape: tuple[int, ...]
    latent_shape: tuple[int, ...]
    data: str = ""

    @abstractmethod
    def encode(self, x_0: Tensor) -> Gaussian:
        """q(z | x_0) over (B, *latent_shape); a variance of zero for an encoder without noise."""

    @abstractmethod
    def outcome(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """An example (B, *) from z (B, *latent_shape)."""

    @abstractmethod
    def reconstruction_nll(self, x_0: Tensor, z: Tensor) -> Tensor:
        """-log p(x_0 | z) in nats, (B,)."""

    def check(self, shape: tuple[int, ...], num_levels: int | None) -> None:
        """Raises ConfigError unless it is for examples of that shape with that number of levels; None: real values."""
        if shape != self.shape:
            raise ConfigError(
                f"expected an autoencoder of examples of shape {list(shape)}, got one of {list(self.shape)}; use one "
                "that was trained on these data",
                key=KEY,
            )


class TrainedAutoencoder(Autoencoder):
    """The VAE of a run, with its averaged weights.

    run: its folder, whose config.yaml says what the model is. checkpoint: `last`, `best`, or the path of a file.

    Raises ConfigError if the checkpoint does not exist, or is not that of a VAE.
    """

    def __init__(self, run: str, checkpoint: str = "last"):
        super().__init__()
        folder = Path(run)
        if not (folder / "config.yaml").is_file():
            raise ConfigError(
                f"expected the folder of a trained VAE's run, but there is no {folder}/config.yaml; train one, as by "
                f"lightning fit -c configs/digits_autoencoder.yaml --run.name={folder.name}",
                key=KEY,
            )
        try:
            file = checkpoint_files.find(checkpoint, folder)
        except ConfigError as error:
            raise ConfigError(str(error), key="model.autoencoder.checkpoint") from error
        settings = untrusted_yaml.load(folder / "config.yaml")
        module = build_module(settings, folder)
        vae = getattr(module, "vae", None)
        if not isinstance(vae, VAE):
            raise ConfigError(f"expected the run of a VAEModule, got one of {type(module).__name__}", key=KEY)
        module.load_state_dict(checkpoint_files.check(file, module)["state_dict"])
        self.vae, self.shape, self.latent_shape = vae, vae.shape, vae.latent_shape
        self.data = last_part(str((settings.get("data") or {}).get("class_path", "")))

    def encode(self, x_0: Tensor) -> Gaussian:
        return self.vae.encode(x_0)

    def outcome(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.vae.outcome(z, generator)

    def reconstruction_nll(self, x_0: Tensor, z: Tensor) -> Tensor:
        return self.vae.reconstruction_nll(x_0, z)

    def check(self, shape: tuple[int, ...], num_levels: int | None) -> None:
        super().check(shape, num_levels)
        self.vae.check(shape, num_levels)


def build_module(settings: Any, folder: Path) -> GenerativeModule:
    """The module in the configuration of a run. Raises ConfigError if there is none."""
    try:
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(GenerativeModule, "model")
        module: GenerativeModule = parser.instantiate_classes(parser.parse_object({"model": settings["model"]})).model
    except ConfigError:
        raise
    except Exception as error:  # of any kind, from the settings of any class
        raise ConfigError(
            f"could not build the model of {folder}/config.yaml ({first_words(error)}); use the folder of a run",
            key=KEY,
        ) from error
    return module
