"""What predictions through the latents of an autoencoder have in common."""

from typing import cast

from lightning.pytorch import LightningModule, Trainer

from lit_diffusion.baselines.hierarchical_vae import HierarchicalVAE
from lit_diffusion.callbacks.lookup import generative_of
from lit_diffusion.callbacks.predict.prediction import Prediction
from lit_diffusion.errors import ConfigError


class LatentPrediction(Prediction):
    """A prediction that encodes images into the latents of an autoencoder, or decodes them, always by means."""

    needs_reverse = False

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().check(trainer, pl_module)
        if generative_of(pl_module).latent_model is None:
            name = type(self).__name__
            raise ConfigError(
                f"{name} needs a model that encodes images, such as VAEModule, got {type(pl_module).__name__}; use "
                f"{name.removeprefix('Latent')}, or Samples"
            )

    def check_layer(self, pl_module: LightningModule, layer: int) -> None:
        """Raises ConfigError unless the model has a layer of that number."""
        layers = latent_model_of(pl_module).num_layers
        if not 1 <= layer <= layers:
            raise ConfigError(f"layer: expected 1 to {layers}, the number of the model's layers, got {layer}")


def latent_model_of(pl_module: LightningModule) -> HierarchicalVAE:
    """The model with the latents, which `check` has found."""
    return cast(HierarchicalVAE, generative_of(pl_module).latent_model)
