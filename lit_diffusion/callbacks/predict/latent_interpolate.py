"""From one image to another through the latents of an autoencoder."""

from typing import Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lit_diffusion.callbacks.chain_walk import require_finite
from lit_diffusion.callbacks.lookup import generative_of
from lit_diffusion.callbacks.predict.held_out import check_split, some_images
from lit_diffusion.callbacks.predict.interpolate import paths_of, write_paths
from lit_diffusion.callbacks.predict.latent_prediction import LatentPrediction, latent_model_of
from lit_diffusion.diffusion.interpolation import linear, spherical
from lit_diffusion.errors import ConfigError, check_at_least
from lit_diffusion.seeding import derive_seed, seed_generator


class LatentInterpolate(LatentPrediction):
    """`num_pairs` paths of `num_points` images from one image to another, both ends included.

    Means of the latents of consecutive real images of a split are mixed linearly in `layer`; for source: prior, draws
    from p(z_n) are mixed on the sphere. Mixtures are decoded by means, so that the ends are reconstructions.

    `interpolate.png` shows each path between its real images, labelled with the weight of the second image;
    `interpolate.npz` holds weights (K,), images (P, K, H, W, C) and originals (P, 2, H, W, C), float32 in units of
    [-1, 1].
    """

    def __init__(
        self,
        num_pairs: int = 4,
        num_points: int = 9,
        source: Literal["data", "prior"] = "data",
        split: str = "test",
        layer: int = 1,
    ):
        check_at_least(1, num_pairs=num_pairs)
        check_at_least(2, num_points=num_points)
        if source == "prior" and layer != 1:
            raise ConfigError(f"layer: source: prior draws latents of the last layer, got {layer}; leave out layer")
        self.num_pairs, self.num_points, self.source = num_pairs, num_points, source
        self.split, self.layer = split, layer

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().check(trainer, pl_module)
        self.check_layer(pl_module, self.layer)
        if self.source == "data":
            check_split(trainer, self.split, 2 * self.num_pairs)

    def make(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Tensor]:
        """weights (K,), images (P, K, C, H, W) and, of data, originals (P, 2, C, H, W)."""
        module, model = generative_of(pl_module), latent_model_of(pl_module)
        weights = torch.linspace(0, 1, self.num_points, device=module.device)
        if self.source == "data":
            originals = some_images(trainer, self.split, 2 * self.num_pairs)
            mix, layer, ends = linear, self.layer, model.latent_means(originals)[self.layer - 1]
        else:
            generator = seed_generator(torch.Generator(module.device), derive_seed(module.seed, "interpolate"))
            originals, mix, layer = None, spherical, model.num_layers
            ends = model.prior(2 * self.num_pairs, module.device).sample(generator)
        x = require_finite(model.decode_from(layer, mix(ends[0::2], ends[1::2], weights).flatten(0, 1)))
        return paths_of(weights, x, originals)

    @rank_zero_only
    def predict(self, trainer: Trainer, pl_module: LightningModule) -> None:
        write_paths(trainer, self.make(trainer, pl_module))
