"""All images that a model with two latents can make, laid out over its latents."""

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from lit_diffusion.callbacks.chain_walk import require_finite
from lit_diffusion.callbacks.predict.held_out import write_arrays
from lit_diffusion.callbacks.predict.latent_prediction import LatentPrediction, latent_model_of
from lit_diffusion.callbacks.progress import say
from lit_diffusion.diffusion.distributions import Gaussian
from lit_diffusion.errors import ConfigError, check_at_least
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.visualization import images as pictures


class LatentManifold(LatentPrediction):
    """`num_points` x `num_points` images over the plane of two latents  (Kingma & Welling 2014, figure 4).

    Rows and columns are at quantiles of the prior in equal steps, so that every image stands for an equal share of the
    samples. The last layer must have two latents: `model.vae.latent_shape: [2]`.

    `manifold.png` shows the images; `manifold.npz` holds latents (K, K, 2) and images (K, K, H, W, C), float32 in units
    of [-1, 1].
    """

    def __init__(self, num_points: int = 20):
        check_at_least(2, num_points=num_points)
        self.num_points = num_points

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().check(trainer, pl_module)
        shape = latent_model_of(pl_module).latent_shapes[-1]
        if shape != (2,):
            raise ConfigError(
                f"LatentManifold needs a last layer of two latents, got shape {list(shape)}; train with "
                "model.vae.latent_shape: [2]"
            )

    @rank_zero_only
    def predict(self, trainer: Trainer, pl_module: LightningModule) -> None:
        model, count = latent_model_of(pl_module), self.num_points
        quantiles = Gaussian.base_icdf((torch.arange(count, device=pl_module.device) + 0.5) / count)
        z = torch.stack(torch.meshgrid(-quantiles, quantiles, indexing="ij"), dim=-1)  # z_1 upwards, z_2 to the right
        x = require_finite(model.decode_from(model.num_layers, z.flatten(0, 1))).clamp(-1, 1)
        folder = self.folder(trainer)
        write_arrays(folder / "manifold.npz", {"latents": z, "images": x.unflatten(0, (count, count))})
        with written_whole(folder / "manifold.png") as temporary:
            pictures.grid(x, count).save(temporary)
        say(trainer, f"{count} x {count} images over two latents: {folder}/manifold.png and .npz")
