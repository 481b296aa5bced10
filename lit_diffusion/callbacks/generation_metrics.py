"""FID, IS, KID, precision and recall of the model's samples."""

import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Literal

import torch
from lightning.pytorch import LightningModule, Trainer

from lit_diffusion.callbacks.checkpoints import Checkpoints
from lit_diffusion.callbacks.class_labels import class_names, sample_labels
from lit_diffusion.callbacks.ema import EMA
from lit_diffusion.callbacks.evaluation import Evaluation
from lit_diffusion.callbacks.lookup import data_of, find_callback, generative_of
from lit_diffusion.callbacks.progress import say, task
from lit_diffusion.callbacks.run_summary import RunSummary
from lit_diffusion.callbacks.sample_blocks import describe_samples, sample_blocks
from lit_diffusion.data.image_set import split_of
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.diffusion.schedule import float64_device
from lit_diffusion.errors import ConfigError, blamed_on, check_at_least
from lit_diffusion.metrics.class_scores import check_classes, class_distances, label_accuracy
from lit_diffusion.metrics.features import FeatureExtractor
from lit_diffusion.metrics.fidelity import Fidelity, Statistics, compare
from lit_diffusion.metrics.inception import InceptionFeatures
from lit_diffusion.metrics.protocol import Protocol, TorchFidelity
from lit_diffusion.metrics.reference_statistics import reference_statistics
from lit_diffusion.metrics.score import Score

MONITOR = "track/fid"


class GenerationMetrics(Evaluation):
    """Scores exactly `num_samples` samples of the module's sampler in `validate`, `test` and, with `at_end`, at the end
    of a fit. Every `every_n_steps` steps of a fit, and after its last step, it scores `track_samples` samples, drawn by
    `track_sampler` (by default the module's sampler; all steps if the model has fewer), logs the scores as `track/fid`
    etc., and keeps the checkpoint with the lowest FID as `checkpoints/best.ckpt`.

    Samples are drawn in blocks of `batch_size` whose randomness is a function of (seed, block), so that they are the
    same on any number of devices. num_samples: 0 for no scores. features: what of the images is compared. protocol: how
    it is. weights: the average (`ema`), the `raw` weights, or `both`, with the scores of the raw weights under names
    that end in `/raw`. Samples of a model with labels are of all classes in turn, and if the features are those of a
    classifier of the same classes, `label_accuracy` is the share that it recognises as of their class. per_class: adds
    the FID of each class, `class_fid/NAME`, and their mean, `intra_fid`, to the scores of the `num_samples` samples.
    """

    tracks_the_end = True  # the last step may be the best, and there is always a best step

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
        per_class: bool = False,
    ):
        super().__init__(every_n_steps, at_end)
        check_at_least(0, num_samples=num_samples)
        check_at_least(1, track_samples=track_samples, batch_size=batch_size)
        self.features, self.protocol = features, protocol
        self.num_samples, self.track_samples, self.track_sampler = num_samples, track_samples, track_sampler
        self.batch_size, self.weights, self.per_class = batch_size, weights, per_class

    @property
    def enabled(self) -> bool:
        return self.num_samples > 0

    @property
    def tracks(self) -> bool:
        """Whether it looks for the lowest FID during training."""
        return self.enabled and self.every_n_steps > 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.tracks and (checkpoints := find_callback(trainer, Checkpoints)):
            checkpoints.monitor = MONITOR
        if self.runs_in(stage):
            self.features.load()  # on every node, before training rather than after it

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = data_of(trainer)
        note = self.features.check(data.image_shape)
        if note:
            say(trainer, note)
        counts = {"num_samples": self.num_samples, **({"track_samples": self.track_samples} if self.tracks else {})}
        for name, split in self._references(trainer):
            for setting, count in counts.items():
                with blamed_on(f"scores.{setting}"):
                    self.protocol.check(count, data.sizes[split], name)
        if self.track_sampler is not None:
            module = generative_of(pl_module)
            with blamed_on("scores.track_sampler"):
                module.check_sampler(module.adapt(self.track_sampler))
        try:
            self.features.load()
        except ConfigError as error:
            raise ConfigError(f"{error}; or set scores.num_samples: 0", key="scores.features") from error
        if self.per_class:
            with blamed_on("scores.per_class"):
                self._check_classes(trainer, pl_module)

    def _check_classes(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data, labels = data_of(trainer), sample_labels(pl_module, self.num_samples)
        if labels is None:
            raise ConfigError(
                "expected false for a model without labels, whose samples have no class; or train one with "
                "model.reverse.network.num_classes"
            )
        name, split = self._references(trainer)[0]
        names = class_names(trainer, generative_of(pl_module).num_classes)
        for what, given in (("samples", labels.cpu()), (f"reference images ({name})", data.labels(split))):
            check_classes(what, given, names, data.image_shape, self.features, self.protocol)

    def evaluate(self, trainer: Trainer, pl_module: LightningModule, final: bool) -> dict[str, Score]:
        references = {name: self._statistics(trainer, pl_module, split) for name, split in self._references(trainer)}
        ema, scores = find_callback(trainer, EMA), dict[str, Score]()
        for weights in ("ema", "raw") if self.weights == "both" else (self.weights,):
            with ema.raw(pl_module) if ema and weights == "raw" else nullcontext():
                scores_of_weights = self._score(trainer, pl_module, references, final)
            suffix = "/raw" if weights == "raw" != self.weights else ""
            scores.update({f"{name}{suffix}": score for name, score in scores_of_weights.items()})
        if not final:
            fid = next(score.value for name, score in scores.items() if name.startswith("fid"))
            if checkpoints := find_callback(trainer, Checkpoints):
                checkpoints.offer(trainer, MONITOR, fid)
        return scores

    def _references(self, trainer: Trainer) -> list[tuple[str, str]]:
        """Names and splits of the references; a data set without test images has only one."""
        data = data_of(trainer)
        splits = [split for split in self.protocol.references if split == "train" or data.sizes[split]]
        return [(f"{type(data).__name__}:{split}", split) for split in splits]

    def _statistics(self, trainer: Trainer, pl_module: LightningModule, split: str) -> Statistics | None:
        return reference_statistics(
            split_of(data_of(trainer), split),
            self.features,
            self.protocol,
            trainer.strategy.broadcast,
            (trainer.global_rank, trainer.world_size),
            batch_size=self.batch_size,
            device=float64_device(pl_module.device),
            bar=lambda images: task(trainer, "reference", images, "images"),
        )

    def _score(
        self, trainer: Trainer, pl_module: LightningModule, references: dict[str, Statistics | None], final: bool
    ) -> dict[str, Score]:
        sampler = None if final else generative_of(pl_module).adapt(self.track_sampler)
        count, shape = self.num_samples if final else self.track_samples, data_of(trainer).image_shape
        metric = Fidelity(self.features, self.protocol, shape, count).to(float64_device(pl_module.device))
        seconds, begin = 0.0, time.perf_counter()
        with task(trainer, "sampling", count, "images") as advance:
            for first, x in sample_blocks(trainer, pl_module, sampler, count, self.batch_size, advance):
                x.sum().item()  # waits for a GPU
                seconds += time.perf_counter() - begin
                metric.update(x, torch.arange(first, first + len(x)))
                begin = time.perf_counter()
        if final and (summary := find_callback(trainer, RunSummary)):
            summary.facts["seconds_per_1000_samples"] = float(f"{1000 * seconds / count:.4g}")
        samples = metric.statistics()
        if samples.non_finite:
            say(trainer, f"the model has diverged: {samples.non_finite} of {count} samples are not finite")
        # the first rank compares, since KID and precision are slow and only it has references that came from the cache
        scores: dict[str, Score] = {}
        if trainer.is_global_zero:
            known = {name: statistics for name, statistics in references.items() if statistics is not None}
            scores = compare(samples, known, self.protocol, self.features)
            labels = sample_labels(pl_module, count)
            if labels is not None and self.features.class_names == data_of(trainer).class_names:
                scores["label_accuracy"] = label_accuracy(samples, labels, self.features, self.protocol)
            if labels is not None and self.per_class and final:
                name, split = self._references(trainer)[0]
                against = (name, known[name], data_of(trainer).labels(split))
                names = class_names(trainer, generative_of(pl_module).num_classes)
                scores |= class_distances(samples, labels, against, names, self.features, self.protocol)
        drawn = {**describe_samples(trainer, pl_module, sampler, self.batch_size), "step": self.step(trainer)}
        return {
            name: replace(score, protocol={**drawn, **score.protocol})
            for name, score in trainer.strategy.broadcast(scores).items()
        }
