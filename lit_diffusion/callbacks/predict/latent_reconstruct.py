"""How much of an image survives in the latents of an autoencoder."""

import csv

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lit_diffusion.callbacks.chain_walk import require_finite
from lit_diffusion.callbacks.predict.held_out import check_split, some_images, write_arrays
from lit_diffusion.callbacks.predict.latent_prediction import LatentPrediction, latent_model_of
from lit_diffusion.callbacks.predict.reconstruct import errors_of
from lit_diffusion.callbacks.progress import say
from lit_diffusion.errors import check_at_least
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.visualization import images as pictures


class LatentReconstruct(LatentPrediction):
    """Encodes `num_images` images of a split into each layer of latents and decodes them, by means.

    `reconstruct.png` shows the images; `reconstruct.npz` holds layers (L,), originals (N, H, W, C) and reconstructions
    (L, N, H, W, C), float32 in units of [-1, 1]; `reconstruct.csv` the root mean square error (RMSE) of each layer on
    the scale 0..255.
    """

    def __init__(self, num_images: int = 8, split: str = "test"):
        check_at_least(1, num_images=num_images)
        self.num_images, self.split = num_images, split

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().check(trainer, pl_module)
        check_split(trainer, self.split, 1)

    def make(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Tensor]:
        """layers (L,), originals (N, C, H, W), reconstructions (L, N, C, H, W)."""
        model, x_0 = latent_model_of(pl_module), some_images(trainer, self.split, self.num_images)
        layers = range(1, model.num_layers + 1)
        back = torch.stack([require_finite(model.reconstruct(x_0, layer)).clamp(-1, 1) for layer in layers])
        return {"layers": torch.tensor([*layers]), "originals": x_0, "reconstructions": back}

    @rank_zero_only
    def predict(self, trainer: Trainer, pl_module: LightningModule) -> None:
        arrays, folder = self.make(trainer, pl_module), self.folder(trainer)
        layers, x_0, back = arrays["layers"].tolist(), arrays["originals"], arrays["reconstructions"]
        rmse = errors_of(back, x_0)
        write_arrays(folder / "reconstruct.npz", arrays)
        with written_whole(folder / "reconstruct.csv") as temporary, temporary.open("w", newline="") as file:
            csv.writer(file).writerows([("layer", "rmse"), *zip(layers, rmse)])
        labels = ["original", *(f"from layer {layer}\nRMSE {error:.1f}" for layer, error in zip(layers, rmse))]
        with written_whole(folder / "reconstruct.png") as temporary:
            pictures.rows([x_0, *back], labels).save(temporary)
        errors = ", ".join(f"{error:.1f} from layer {layer}" for layer, error in zip(layers, rmse))
        say(trainer, f"RMSE of {len(x_0)} reconstructions on the scale 0..255: {errors}")
        say(trainer, f"reconstructions: {folder}/reconstruct.png, .npz and .csv")
