"""From one image to another through the latents of a model."""

from typing import Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lit_diffusion.callbacks.predict.held_out import check_split, first_images, write_arrays
from lit_diffusion.callbacks.predict.prediction import Prediction
from lit_diffusion.callbacks.predict.reconstruct import starting_at
from lit_diffusion.callbacks.progress import say, task
from lit_diffusion.callbacks.sample_blocks import not_finite, refuse_divergence
from lit_diffusion.diffusion.interpolation import linear, spherical
from lit_diffusion.diffusion.sampler import DDIMSampler, Sampler
from lit_diffusion.errors import ConfigError
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.seeding import derive_seed
from lit_diffusion.visualization import images as pictures


class Interpolate(Prediction):
    """`num_pairs` ways of `num_points` images from one image to another, both ends included.

    Two real images, the next two of a split for every pair, or for source: prior two draws of x_T, are mixed where
    they are noise and the mixtures decoded. There are two kinds of noise:

    - step: null, the latents x_T of DDIM, in which `sampler` without randomness (by default DDIM over all steps)
      encodes the images, mixed on the sphere  (Song et al. 2020, arXiv 2010.02502, section 5.3). The ends are the
      images again, but for the error of the steps.
    - step: t, one draw of x_t ~ q(x_t | x_0) for each image, mixed linearly and decoded from t by `sampler`, by default
      the model's own  (Ho et al. 2020, figure 8, with t = 500). The larger t, the freer the ends and the way.

    `interpolate.png` shows the ways below the weight of the second image, between the real images; `interpolate.npz`
    holds weights (K,), images (P, K, H, W, C) and originals (P, 2, H, W, C), float32 in units of [-1, 1].
    """

    def __init__(
        self,
        num_pairs: int = 4,
        num_points: int = 9,
        source: Literal["data", "prior"] = "data",
        split: str = "test",
        step: int | None = None,
        sampler: Sampler | None = None,
    ):
        if num_pairs < 1:
            raise ConfigError(f"num_pairs: {num_pairs} are no pairs; write 1 or more")
        if num_points < 2:
            raise ConfigError(f"num_points: {num_points} has not both ends; write 2 or more")
        if source == "prior" and step is not None:
            raise ConfigError("step: draws of the prior are at T already; write null, or source: data")
        self.num_pairs, self.num_points, self.source, self.split = num_pairs, num_points, source, split
        self.step, self.sampler = step, sampler

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().check(trainer, pl_module)
        num_steps = pl_module.reverse.num_steps
        if self.source == "data":
            check_split(trainer, self.split, 2 * self.num_pairs)
        if self.step is not None and not 1 <= self.step <= num_steps:
            raise ConfigError(f"step: {self.step} is no step of the model; write one from 1 to {num_steps}, or null")
        sampler = self._sampler(pl_module)
        sampler.check_model(pl_module.reverse)
        if self.step is None and not (isinstance(sampler, DDIMSampler) and sampler.eta == 0):
            raise ConfigError(
                f"sampler: {type(sampler).__name__} draws noise on the way, so that it has no latents; write "
                "DDIMSampler with eta: 0, or give a step to noise the images to"
            )

    def _sampler(self, pl_module: LightningModule) -> Sampler:
        return self.sampler or (DDIMSampler() if self.step is None else pl_module.sampler)

    @rank_zero_only
    def predict(self, trainer: Trainer, pl_module: LightningModule) -> None:
        reverse, decoder = pl_module.reverse, self._sampler(pl_module)
        if self.step is not None:
            decoder = starting_at(decoder, self.step, reverse.num_steps)
        draw = torch.Generator(pl_module.device).manual_seed(derive_seed(pl_module.seed, "interpolate"))
        weights = torch.linspace(0, 1, self.num_points, device=pl_module.device)
        originals = first_images(trainer, self.split, 2 * self.num_pairs) if self.source == "data" else None
        chains = 2 if self.source == "data" and self.step is None else 1
        with task(trainer, "interpolating", chains * len(decoder.subset(reverse.num_steps))) as advance:
            if originals is None:
                shape = (2 * self.num_pairs, *trainer.datamodule.image_shape)
                ends = reverse.process.prior(shape, reverse.device).sample(draw)
            elif self.step is None:
                ends = originals
                for _, x_t in decoder.encode(reverse, originals):
                    ends = x_t
                    advance()
            else:
                at_step = torch.full((len(originals),), self.step, device=reverse.device)
                ends = reverse.process.marginal(originals, at_step).sample(draw)
            mix = spherical if self.step is None else linear
            x = mix(ends[0::2], ends[1::2], weights).flatten(0, 1)
            for step in decoder.chain(reverse, x, draw):
                x = step.x_s
                advance()
        refuse_divergence(int(not_finite(x)), len(x))
        ways = x.clamp(-1, 1).unflatten(0, (self.num_pairs, self.num_points))
        self._write(trainer, weights, ways, None if originals is None else originals.unflatten(0, (-1, 2)))

    def _write(self, trainer: Trainer, weights: Tensor, ways: Tensor, originals: Tensor | None) -> None:
        folder = self.folder(trainer)
        columns, labels = [*ways.unbind(1)], [f"{weight:.2f}" for weight in weights]
        arrays = {"weights": weights, "images": ways}
        if originals is not None:
            columns, labels = [originals[:, 0], *columns, originals[:, 1]], ["original", *labels, "original"]
            arrays["originals"] = originals
        write_arrays(folder / "interpolate.npz", arrays)
        with written_whole(folder / "interpolate.png") as temporary:
            pictures.chain(columns, labels).save(temporary)
        say(trainer, f"{len(ways)} interpolations: {folder}/interpolate.png and .npz")
