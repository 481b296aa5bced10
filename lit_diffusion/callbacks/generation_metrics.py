"""FID, IS, KID, precision and recall of what the model draws."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Literal

import torch
from lightning.pytorch import LightningModule, Trainer

from lit_diffusion.callbacks.checkpoints import checkpoints_of
from lit_diffusion.callbacks.ema import ema_of
from lit_diffusion.callbacks.evaluation import Evaluation
from lit_diffusion.callbacks.progress import say, task
from lit_diffusion.callbacks.sample_blocks import describe_samples, sample_blocks
from lit_diffusion.data.image_set import split_of
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError, blamed_on
from lit_diffusion.metrics.features import FeatureExtractor
from lit_diffusion.metrics.fidelity import Fidelity, Statistics, compare
from lit_diffusion.metrics.inception import InceptionFeatures
from lit_diffusion.metrics.protocol import Protocol, TorchFidelity
from lit_diffusion.metrics.reference_statistics import reference_statistics
from lit_diffusion.metrics.score import Score

MONITOR = "track/fid"


class GenerationMetrics(Evaluation):
    """Scores exactly `num_samples` samples of the model's own sampler in `validate`, `test` and, with `at_end`, at the
    end of a fit. Every `every_n_steps` steps of a fit, and at its last, it scores `track_samples` of them, drawn by
    `track_sampler` (by default again the model's own; all steps, if the model has fewer), logs that as `track/fid` and
    so on, and keeps the checkpoint of the lowest FID as `checkpoints/best.ckpt`.

    Samples are drawn in blocks of `batch_size` whose randomness is a function of (seed, block), so that they are the
    same on any number of devices. num_samples: 0 for no scores. weights: the average (`ema`), the `raw` weights, or
    `both`, the latter's scores under names that end in `/raw`.
    """

    tracks_the_end = True  # so that the last step may be the best, and there always is a best

    def __init__(
        self,
        features: FeatureExtractor = InceptionFeatures(),
        protocol: Protocol = TorchFidelity(),
        num_samples: int = 50_000,
        every_n_steps: int = 0,
        at_end: bool = False,
        track_samples: int = 10_000,
        track_sampler: Sampler | None = None,
        batch_size: int = 500,
        weights: Literal["ema", "raw", "both"] = "ema",
    ):
        super().__init__(every_n_steps, at_end)
        for name, value, least in (
            ("num_samples", num_samples, 0),
            ("track_samples", track_samples, 1),
            ("batch_size", batch_size, 1),
        ):
            if value < least:
                raise ConfigError(f"{name}: {value} is too small; write {least} or more")
        self.features, self.protocol = features, protocol
        self.num_samples, self.track_samples, self.track_sampler = num_samples, track_samples, track_sampler
        self.batch_size, self.weights = batch_size, weights

    @property
    def enabled(self) -> bool:
        return self.num_samples > 0

    @property
    def tracks(self) -> bool:
        """Whether it looks for the lowest FID while training goes on."""
        return self.enabled and self.every_n_steps > 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.track_sampler is not None:
            self.track_sampler.shorten(pl_module.reverse.num_steps)
        if self.tracks and (checkpoints := checkpoints_of(trainer)):
            checkpoints.monitor = MONITOR
        if self.runs_in(stage):
            self.features.load()  # on every node now, not hours later

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = trainer.datamodule
        note = self.features.check(data.image_shape)
        if note:
            say(trainer, note)
        counts = {"num_samples": self.num_samples, **({"track_samples": self.track_samples} if self.tracks else {})}
        for name, split in self._references(trainer):
            for setting, count in counts.items():
                with blamed_on(f"scores.{setting}"):
                    self.protocol.check(count, data.sizes[split], name)
        if self.track_sampler is not None:
            self.track_sampler.shorten(pl_module.reverse.num_steps)
            with blamed_on("scores.track_sampler"):
                self.track_sampler.check_model(pl_module.reverse)
        try:
            self.features.load()
        except ConfigError as error:
            raise ConfigError(f"{error}; or score nothing: num_samples: 0", key="scores.features") from error

    def evaluate(self, trainer: Trainer, pl_module: LightningModule, final: bool) -> dict[str, Score]:
        references = {name: self._statistics(trainer, pl_module, split) for name, split in self._references(trainer)}
        ema, scores = ema_of(trainer), {}
        for weights in ("ema", "raw") if self.weights == "both" else (self.weights,):
            with ema.raw(pl_module) if ema and weights == "raw" else nullcontext():
                named = self._score(trainer, pl_module, references, final)
            suffix = "/raw" if weights == "raw" != self.weights else ""
            scores.update({f"{name}{suffix}": score for name, score in named.items()})
        if not final:
            fid = next(score.value for name, score in scores.items() if name.startswith("fid"))
            if checkpoints := checkpoints_of(trainer):
                checkpoints.offer(trainer, MONITOR, fid)
        return scores

    def _references(self, trainer: Trainer) -> list[tuple[str, str]]:
        """Name and split of what samples are compared with; a data set without test images has one reference."""
        data = trainer.datamodule
        splits = [split for split in self.protocol.references if split == "train" or data.sizes[split]]
        return [(f"{type(data).__name__}:{split}", split) for split in splits]

    def _statistics(self, trainer: Trainer, pl_module: LightningModule, split: str) -> Statistics | None:
        return reference_statistics(
            split_of(trainer.datamodule, split),
            self.features,
            self.protocol,
            trainer.strategy.broadcast,
            (trainer.global_rank, trainer.world_size),
            batch_size=self.batch_size,
            device=statistics_device(pl_module),
            bar=lambda images: task(trainer, "reference", images, "images"),
        )

    def _score(
        self, trainer: Trainer, pl_module: LightningModule, references: dict[str, Statistics | None], final: bool
    ) -> dict[str, Score]:
        sampler = pl_module.sampler if final or self.track_sampler is None else self.track_sampler
        count, shape = self.num_samples if final else self.track_samples, trainer.datamodule.image_shape
        metric = Fidelity(self.features, self.protocol, shape, count).to(statistics_device(pl_module))
        with task(trainer, "sampling", count, "images") as advance:
            for first, x in sample_blocks(trainer, pl_module, sampler, count, self.batch_size, advance):
                metric.update(x, torch.arange(first, first + len(x)))
        samples = metric.statistics()
        if samples.non_finite:
            say(trainer, f"{samples.non_finite} of {count} samples are not finite: the model has diverged")
        # KID and precision take a while, and the first rank alone has references that came from the cache
        first_rank = trainer.is_global_zero
        scores = compare(samples, references, self.protocol, self.features) if first_rank else None
        drawn = {**describe_samples(trainer, pl_module, sampler, self.batch_size), "step": self.step(trainer)}
        return {
            name: replace(score, protocol={**drawn, **score.protocol})
            for name, score in trainer.strategy.broadcast(scores).items()
        }


def statistics_device(pl_module: LightningModule) -> torch.device:
    """Where features are extracted and summed: the model's device, if that has float64."""
    return torch.device("cpu") if pl_module.device.type == "mps" else pl_module.device
