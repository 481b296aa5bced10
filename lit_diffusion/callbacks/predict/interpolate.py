"""From one image to another through the latents of a model."""

from typing import Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lit_diffusion.callbacks.chain_walk import require_finite, walk
from lit_diffusion.callbacks.lookup import data_of, diffusion_of
from lit_diffusion.callbacks.predict.held_out import check_split, some_images, write_arrays
from lit_diffusion.callbacks.predict.prediction import Prediction
from lit_diffusion.callbacks.predict.reconstruct import starting_at
from lit_diffusion.callbacks.progress import say, task
from lit_diffusion.diffusion.interpolation import linear, spherical
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.diffusion.solvers import DDIMSampler
from lit_diffusion.errors import ConfigError, check_at_least
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.seeding import derive_seed, seed_generator
from lit_diffusion.visualization import images as pictures


class Interpolate(Prediction):
    """`num_pairs` paths of `num_points` images from one image to another, both ends included.

    Pairs of consecutive real images of a split or, for source: prior, pairs of draws of x_T are mixed as noise, and the
    mixtures are decoded. There are two kinds of noise:

    - step: null. The latents x_T, into which a deterministic `sampler` (by default DDIM over all steps) encodes the
      images, mixed on the sphere  (Song et al. 2020, arXiv 2010.02502, section 5.3). The ends are the images again, up
      to the discretization error.
    - step: t. One draw of x_t ~ q(x_t | x_0) for each image, mixed linearly and decoded from t by `sampler`, by default
      the module's sampler  (Ho et al. 2020, figure 8, with t = 500). The larger t, the more the path may vary.

    A model with labels is used without.

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
        step: int | None = None,
        sampler: Sampler | None = None,
    ):
        check_at_least(1, num_pairs=num_pairs)
        check_at_least(2, num_points=num_points)
        if source == "prior" and step is not None:
            raise ConfigError(f"step: expected null for source: prior, whose draws are x_T; got {step}")
        self.num_pairs, self.num_points, self.source, self.split = num_pairs, num_points, source, split
        self.step, self.sampler = step, sampler

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().check(trainer, pl_module)
        num_steps, sampler = diffusion_of(pl_module).reverse.num_steps, self.sampler_for(pl_module)
        if self.source == "data":
            check_split(trainer, self.split, 2 * self.num_pairs)
        if self.step is not None and not 1 <= self.step <= num_steps:
            raise ConfigError(f"step: expected 1 to T = {num_steps}, or null for latents; got {self.step}")
        reverse = diffusion_of(pl_module).reverse
        if reverse.num_classes is not None and not reverse.knows_no_label:
            raise ConfigError(
                "Interpolate: expected a model that was also trained without labels, since what lies between two "
                "images has none, got label_dropout 0; train with model.reverse.network.label_dropout: 0.1"
            )
        if self.step is None and not sampler.deterministic:
            raise ConfigError(
                f"sampler: expected a deterministic sampler, got {type(sampler).__name__}, which has no latents; use "
                "DDIMSampler with eta: 0, or set step to noise the images to that step"
            )

    def sampler_for(self, pl_module: LightningModule) -> Sampler:
        """The sampler that decodes and, without a step, encodes."""
        return DDIMSampler() if self.sampler is None and self.step is None else super().sampler_for(pl_module)

    def make(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Tensor]:
        """weights (K,), images (P, K, C, H, W) and, of data, originals (P, 2, C, H, W)."""
        module, sampler = diffusion_of(pl_module), self.sampler_for(pl_module)
        reverse = module.reverse
        if self.step is not None:
            sampler = starting_at(sampler, self.step, reverse.process.schedule)
        generator = seed_generator(torch.Generator(module.device), derive_seed(module.seed, "interpolate"))
        weights = torch.linspace(0, 1, self.num_points, device=module.device)
        originals = some_images(trainer, self.split, 2 * self.num_pairs) if self.source == "data" else None
        chains = 2 if self.source == "data" and self.step is None else 1
        with task(trainer, "interpolating", chains * len(sampler.subset(reverse.process.schedule))) as advance:
            if originals is None:
                shape = (2 * self.num_pairs, *data_of(trainer).image_shape)
                ends = reverse.process.prior(shape, reverse.device).sample(generator)
            elif self.step is None:
                _, ends = walk(sampler.encode(reverse, originals), advance)
            else:
                at_step = torch.full((len(originals),), self.step, device=reverse.device)
                ends = reverse.process.marginal(originals, at_step).sample(generator)
            mix = spherical if self.step is None else linear
            x = mix(ends[0::2], ends[1::2], weights).flatten(0, 1)
            x = require_finite(walk(sampler.chain(reverse, x, generator), advance).x_s)
        return paths_of(weights, x, originals)

    @rank_zero_only
    def predict(self, trainer: Trainer, pl_module: LightningModule) -> None:
        write_paths(trainer, self.make(trainer, pl_module))


def paths_of(weights: Tensor, x: Tensor, originals: Tensor | None) -> dict[str, Tensor]:
    """Arrays by name. weights: (K,); x: P paths, (P * K, C, H, W); originals: their ends, (2 * P, C, H, W), or None."""
    arrays = {"weights": weights, "images": x.clamp(-1, 1).unflatten(0, (-1, len(weights)))}
    return arrays if originals is None else {**arrays, "originals": originals.unflatten(0, (-1, 2))}


def write_paths(trainer: Trainer, arrays: dict[str, Tensor]) -> None:
    """Writes `interpolate.png` and `.npz` of `paths_of`."""
    folder, paths, originals = Prediction.folder(trainer), arrays["images"], arrays.get("originals")
    columns, labels = [*paths.unbind(1)], [f"{weight:.2f}" for weight in arrays["weights"]]
    if originals is not None:
        columns, labels = [originals[:, 0], *columns, originals[:, 1]], ["original", *labels, "original"]
    write_arrays(folder / "interpolate.npz", arrays)
    with written_whole(folder / "interpolate.png") as temporary:
        pictures.chain(columns, labels).save(temporary)
    say(trainer, f"{len(paths)} interpolations: {folder}/interpolate.png and .npz")
