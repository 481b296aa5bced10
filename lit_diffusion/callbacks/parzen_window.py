"""The log-likelihood of test images by a Parzen window on samples, as generative models were compared until 2016."""

import math

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_diffusion.callbacks.evaluation import Evaluation
from lit_diffusion.callbacks.generation_metrics import statistics_device
from lit_diffusion.callbacks.progress import say, task
from lit_diffusion.callbacks.sample_blocks import describe_samples, not_finite, sample_blocks
from lit_diffusion.data.image_data import ImageData
from lit_diffusion.diffusion.bound_estimate import mean_of
from lit_diffusion.diffusion.null_model import bits
from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics.parzen import ParzenWindows
from lit_diffusion.metrics.score import Score

NAME = "parzen_log_likelihood"
IMAGES = 1000  # whose distances from a block of samples are taken at once


class ParzenWindow(Evaluation):
    """The mean log-likelihood of all test images, in bits per image, under N(y, sigma^2 I) around each of `num_samples`
    samples y of the model's own sampler  (Bengio et al. 2013; Goodfellow et al. 2014; Sohl-Dickstein et al. 2015,
    table 2), in `validate`, `test` and, with `at_end`, at the end of a fit. num_samples: 10,000 in the literature, 0
    for no score.

    Images are on the scale [0, 1] and densities are those of all their pixels together; samples are clipped to that
    scale and not rounded. Real-valued data are taken as they are. sigma is the best of `num_sigmas`, evenly spread on
    a log scale from `sigma_min` to `sigma_max`, for the last `num_validation` training images. batch_size: of the
    blocks of samples, as for `GenerationMetrics`. The spread is the standard error over test images alone.

    In many dimensions this neither is near the model's likelihood nor ranks models as that does, however many samples
    there are: it rewards samples near the centres of clusters of training images  (Theis, van den Oord, Bethge 2016,
    arXiv 1511.01844). It is here for the comparison with tables of its time; `BitsPerDim` bounds the likelihood.
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
        for name, value, least in (
            ("num_samples", num_samples, 0),
            ("batch_size", batch_size, 1),
            ("num_validation", num_validation, 1),
            ("num_sigmas", num_sigmas, 1),
        ):
            if value < least:
                raise ConfigError(f"{name}: {value} is too small; write {least} or more")
        if not 0 < sigma_min <= sigma_max < float("inf"):
            raise ConfigError(
                f"sigma_min: {sigma_min:g} to {sigma_max:g} is no range of widths; write 0.01, and 1 for sigma_max"
            )
        self.num_samples, self.batch_size, self.num_validation = num_samples, batch_size, num_validation
        ends = math.log10(sigma_min), math.log10(sigma_max)
        self.sigmas = torch.logspace(*ends, num_sigmas, dtype=torch.float64)

    @property
    def enabled(self) -> bool:
        return self.num_samples > 0

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.datamodule.sizes["test"]:
            raise ConfigError(
                "the data has no test images, whose likelihood it would be; set some aside, or write 0",
                key="parzen.num_samples",
            )

    def evaluate(self, trainer: Trainer, pl_module: LightningModule, final: bool) -> dict[str, Score]:
        data, device = trainer.datamodule, statistics_device(pl_module)
        held_out = min(self.num_validation, data.sizes["train"])
        values = torch.Size(data.image_shape).numel()
        windows = {
            "train": ParzenWindows(self.sigmas, held_out, values, device),
            "test": ParzenWindows(self.sigmas, data.sizes["test"], values, device),
        }
        bad = torch.zeros((), device=device)
        with task(trainer, "parzen", self.num_samples, "images") as advance:
            blocks = sample_blocks(trainer, pl_module, pl_module.sampler, self.num_samples, self.batch_size, advance)
            for _, y in blocks:
                bad += not_finite(y)
                for split, one in windows.items():
                    add_split(data, split, one, y.nan_to_num())
        for one in windows.values():
            one.merge(trainer.strategy.all_gather(one.log_sums).reshape(-1, *one.log_sums.shape))
        best = int(windows["train"].log_density(self.num_samples).mean(dim=1).argmax())
        if best in (0, len(self.sigmas) - 1) and len(self.sigmas) > 1:
            say(trainer, f"the best sigma, {self.sigmas[best]:.3g}, is the end of its range: write a wider one")
        found = mean_of(bits(windows["test"].log_density(self.num_samples)[best]).cpu())
        diverged = int(trainer.strategy.reduce(bad, reduce_op="sum")) > 0
        protocol = {
            **describe_samples(trainer, pl_module, pl_module.sampler, self.batch_size),
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
        return {NAME: Score(None if diverged else found.value, None if diverged else found.error, protocol)}


def add_split(data: ImageData, split: str, windows: ParzenWindows, y: Tensor) -> None:
    """Samples y (N, *), for the last images of a split, as many as `windows` are of."""
    count, size = windows.log_sums.shape[1], data.sizes[split]
    numbers = torch.arange(size - count, size).split(IMAGES)
    for part, x in zip(numbers, data.batches(split, numbers)):
        windows.add(int(part[0]) - (size - count), on_unit_scale(x, data), on_unit_scale(y, data))


def on_unit_scale(x: Tensor, data: ImageData) -> Tensor:
    """Values in [-1, 1] of data with levels as [0, 1], those beyond clipped; real values as they are."""
    return x if data.num_levels is None else (x.clamp(-1, 1) + 1) / 2
