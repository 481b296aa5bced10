"""The Parzen-window log-likelihood of test images, by which generative models were compared until 2016."""

import math

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_diffusion.callbacks.chain_walk import count_non_finite
from lit_diffusion.callbacks.evaluation import Evaluation
from lit_diffusion.callbacks.lookup import data_of
from lit_diffusion.callbacks.progress import say, task
from lit_diffusion.callbacks.sample_blocks import describe_samples, sample_blocks
from lit_diffusion.data.image_data import ImageData
from lit_diffusion.diffusion.bound_estimate import estimate_mean
from lit_diffusion.diffusion.null_model import bits
from lit_diffusion.diffusion.schedule import float64_device
from lit_diffusion.errors import ConfigError, check_at_least
from lit_diffusion.metrics.parzen import ParzenWindows
from lit_diffusion.metrics.score import Score

NAME = "parzen_log_likelihood"
IMAGES = 1000  # images whose distances to a block of samples are computed at once


class ParzenWindow(Evaluation):
    """The mean log-likelihood of all test images, in bits per image, under N(y, sigma^2 I) around each of `num_samples`
    samples y of the module's sampler  (Bengio et al. 2013; Goodfellow et al. 2014; Sohl-Dickstein et al. 2015,
    table 2), in `validate`, in `test` and, with `at_end`, at the end of a fit. num_samples: 10,000 in the literature, 0
    for no score.

    Images are on the scale [0, 1] and densities are joint over all pixels; samples are clipped to that scale and not
    rounded. Real-valued data are used unchanged. sigma is the best of `num_sigmas` values, log-spaced from `sigma_min`
    to `sigma_max`, for the last `num_validation` training images. batch_size: of the blocks of samples, see
    `GenerationMetrics`. The spread is the standard error over test images only.

    In many dimensions this is neither close to the model's likelihood nor ranks models in the same way, whatever the
    number of samples: it rewards samples near the centres of clusters of training images  (Theis, van den Oord, Bethge
    2016, arXiv 1511.01844). Use it to compare with tables of that time; `BitsPerDim` bounds the likelihood.
    """

    activity = "parzen"

    def __init__(
        self,
        num_samples: int = 0,
        at_end: bool = False,
        batch_size: int = 500,
        num_validation: int = 1000,
        sigma_min: float = 0.01,
        sigma_max: float = 1.0,
        num_sigmas: int = 21,
    ):
        super().__init__(0, at_end)
        check_at_least(0, num_samples=num_samples)
        check_at_least(1, batch_size=batch_size, num_validation=num_validation, num_sigmas=num_sigmas)
        if not 0 < sigma_min <= sigma_max < math.inf:
            raise ConfigError(
                f"sigma_min: expected 0 < sigma_min <= sigma_max, got {sigma_min:g} and {sigma_max:g}; use 0.01 and 1"
            )
        self.num_samples, self.batch_size, self.num_validation = num_samples, batch_size, num_validation
        self.sigmas = torch.logspace(math.log10(sigma_min), math.log10(sigma_max), num_sigmas, dtype=torch.float64)

    @property
    def enabled(self) -> bool:
        return self.num_samples > 0

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not data_of(trainer).sizes["test"]:
            raise ConfigError(
                "the data have no test images to score; set some aside, or use 0 for no score",
                key="parzen.num_samples",
            )

    def evaluate(self, trainer: Trainer, pl_module: LightningModule, final: bool) -> dict[str, Score]:
        data, device = data_of(trainer), float64_device(pl_module.device)
        held_out = min(self.num_validation, data.sizes["train"])
        values = torch.Size(data.image_shape).numel()
        windows = {
            "train": ParzenWindows(self.sigmas, held_out, values, device),
            "test": ParzenWindows(self.sigmas, data.sizes["test"], values, device),
        }
        bad = torch.zeros((), device=device)
        with task(trainer, "parzen", self.num_samples, "images") as advance:
            for _, y in sample_blocks(trainer, pl_module, None, self.num_samples, self.batch_size, advance):
                bad += count_non_finite(y)
                for split, window in windows.items():
                    add_split(data, split, window, y.nan_to_num())
        for window in windows.values():
            window.merge(trainer.strategy.all_gather(window.log_sums).reshape(-1, *window.log_sums.shape))
        best = int(windows["train"].log_density(self.num_samples).mean(dim=1).argmax())
        if best in (0, len(self.sigmas) - 1) and len(self.sigmas) > 1:
            say(trainer, f"the best sigma, {self.sigmas[best]:.3g}, is an end of its range; use a wider range")
        log_likelihood = estimate_mean(
            bits(windows["test"].log_density(self.num_samples)[best] - data.log_volume).cpu()
        )
        diverged = int(trainer.strategy.reduce(bad, reduce_op="sum")) > 0
        protocol = {
            **describe_samples(trainer, pl_module, None, self.batch_size),
            "step": self.step(trainer),
            "samples": self.num_samples,
            "spread": "standard error over test images",
            "unit": "bits/image",
            "values": "as they are" if data.num_levels is None else "[0, 1]",
            "split": "test",
            "images": data.sizes["test"],
            "window": "Gaussian",
            "sigma": float(f"{self.sigmas[best]:.6g}"),
            "sigma_from": f"the last {held_out} training images",
        }
        value, error = (None, None) if diverged else (log_likelihood.value, log_likelihood.error)
        return {NAME: Score(value, error, protocol)}


def add_split(data: ImageData, split: str, windows: ParzenWindows, y: Tensor) -> None:
    """Adds samples y (N, *) to the windows for the last images of a split, as many as `windows` holds."""
    count, size = windows.log_sums.shape[1], data.sizes[split]
    numbers = torch.arange(size - count, size).split(IMAGES)
    for part, x in zip(numbers, data.batches(split, numbers)):
        windows.add(int(part[0]) - (size - count), on_unit_scale(x, data), on_unit_scale(y, data))


def on_unit_scale(x: Tensor, data: ImageData) -> Tensor:
    """Values of data with levels, clipped to [-1, 1] and mapped to [0, 1]; real values unchanged."""
    return x if data.num_levels is None else (x.clamp(-1, 1) + 1) / 2
