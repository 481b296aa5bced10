"""A trained model at a Python prompt."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor

from lit_diffusion.api.likelihood_result import LikelihoodResult
from lit_diffusion.api.prompt import one_line_errors, seeded
from lit_diffusion.callbacks import BitsPerDim, RunProgress
from lit_diffusion.callbacks.bits_per_dim import log_likelihood as likelihood_scores
from lit_diffusion.callbacks.bits_per_dim import scores_of
from lit_diffusion.callbacks.evaluation import evaluating
from lit_diffusion.callbacks.lookup import data_of, find_callback
from lit_diffusion.callbacks.predict import (
    Inpaint,
    Interpolate,
    LatentInterpolate,
    LatentReconstruct,
    Prediction,
    Reconstruct,
    Samples,
)
from lit_diffusion.data import ImageData
from lit_diffusion.data.given_images import GivenImages
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.sampler import Sampler
from lit_diffusion.errors import ConfigError
from lit_diffusion.modules import GenerativeModule
from lit_diffusion.visualization import examples

Images = Tensor | np.ndarray
Labels = Tensor | np.ndarray | Sequence[int]


class TrainedModel:
    """What `load` and `train` return. Its results are those of the command line for the same seed, bit for bit.

    Images are float32 tensors (N, C, H, W) in [-1, 1] on the CPU; other examples as their data set serves them. Both
    may go in as integer levels, and as NumPy arrays. images: where a method takes some, by default the first ones of
    the test split. sampler: by default that of the run. seed: by default that of the run. progress: whether a bar, or a
    line every ten seconds, shows how far it is.

    module: the LightningModule, which holds the weights that were asked for; data: the data module, set up; folder: the
    run's; settings: its configuration by dotted keys; step: updates that the weights have seen.
    """

    def __init__(
        self,
        module: GenerativeModule,
        data: ImageData,
        trainer: Trainer,
        folder: Path,
        settings: dict[str, Any],
        step: int,
    ):
        self.module, self.data, self.trainer, self.folder = module, data, trainer, folder
        self.settings, self.step = settings, step

    def __repr__(self) -> str:
        size = sum(parameter.numel() for parameter in self.module.parameters())
        return f"<{type(self.module).__name__} of {self.folder}: {size:,} parameters, {type(self.data).__name__}>"

    @property
    def reverse(self) -> ReverseModel:
        """The reverse model, with `process`, `network` and all else that its formulas need. Raises ConfigError if the
        model has none.
        """
        if not self.module.has_reverse:
            raise ConfigError(
                f"expected a diffusion model of the examples, got {type(self.module).__name__}, which has no reverse"
            )
        reverse: ReverseModel = self.module.reverse  # type: ignore[assignment]  # of a module that has it
        return reverse

    @one_line_errors
    def sample(
        self,
        num_samples: int = 16,
        sampler: Sampler | None = None,
        seed: int | None = None,
        classes: Sequence[int | str] | None = None,
        batch_size: int = 64,
        progress: bool = False,
    ) -> Tensor:
        """Samples, (num_samples, *). classes: of a model with labels, by number or name, taken in turn; by default all.
        Another batch size draws other samples.
        """
        samples = Samples(num_samples, batch_size, sampler, None if classes is None else [*classes])
        return self.make(samples, seed=seed, progress=progress)["samples"]

    @one_line_errors
    def reconstruct(
        self,
        images: Images | None = None,
        steps: Sequence[int] | None = None,
        sampler: Sampler | None = None,
        seed: int | None = None,
        labels: Labels | None = None,
        progress: bool = False,
    ) -> dict[str, Tensor]:
        """Images taken to each of `steps` and back, as by `Reconstruct`; of autoencoders, encoded into each layer of
        latents and decoded, as by `LatentReconstruct`, without steps and sampler.
        """
        count = 8 if images is None else len(images)
        prediction: Prediction
        if self._encodes(steps=steps, sampler=sampler):
            prediction = LatentReconstruct(count)
        else:
            prediction = Reconstruct(None if steps is None else [*steps], count, sampler=sampler)
        return self.make(prediction, images, labels, seed, progress)

    @one_line_errors
    def interpolate(
        self,
        images: Images | None = None,
        num_points: int = 9,
        step: int | None = None,
        sampler: Sampler | None = None,
        seed: int | None = None,
        progress: bool = False,
    ) -> dict[str, Tensor]:
        """Paths from the first to the second of images, from the third to the fourth, and so on, as by `Interpolate`;
        of autoencoders, as by `LatentInterpolate`, without step and sampler.
        """
        if images is not None and len(images) % 2:
            raise ConfigError(f"images: expected pairs, got {len(images)} images")
        pairs = 4 if images is None else len(images) // 2
        prediction: Prediction
        if self._encodes(step=step, sampler=sampler):
            prediction = LatentInterpolate(pairs, num_points)
        else:
            prediction = Interpolate(pairs, num_points, step=step, sampler=sampler)
        return self.make(prediction, images, None, seed, progress)

    @one_line_errors
    def inpaint(
        self,
        images: Images | None = None,
        known: str = "upper",
        draws: int = 4,
        sampler: Sampler | None = None,
        seed: int | None = None,
        labels: Labels | None = None,
        progress: bool = False,
    ) -> dict[str, Tensor]:
        """Draws what is hidden of each image given what is `known`, as by `Inpaint`."""
        count = 8 if images is None else len(images)
        return self.make(Inpaint(known, count, draws, sampler=sampler), images, labels, seed, progress)

    @one_line_errors
    def make(
        self,
        prediction: Prediction,
        images: Images | None = None,
        labels: Labels | None = None,
        seed: int | None = None,
        progress: bool = False,
    ) -> dict[str, Tensor]:
        """What any class of `lightning predict` writes to its NPZ file, by name, channels first; the other methods are
        short for this. labels: of images, for a model that takes labels.
        """
        with self._working(images, labels, seed, progress), evaluating(self.trainer, self.module, "sampling"):
            prediction.check(self.trainer, self.module)
            return {name: array.cpu() for name, array in prediction.make(self.trainer, self.module).items()}

    @one_line_errors
    def bits_per_dim(
        self,
        images: Images | None = None,
        terms: int | None = 20,
        seed: int | None = None,
        labels: Labels | None = None,
        batch_size: int = 500,
        progress: bool = False,
        log_likelihood: bool = False,
    ) -> LikelihoodResult:
        """The bound on -log p of images, by default of the whole test split, as by `BitsPerDim`: of few `terms` it is
        unbiased, but its error is large. log_likelihood: adds K, L_null and, of data of known density, the gap.
        """
        scorer = BitsPerDim(terms=terms, splits=["test"], batch_size=batch_size)
        with self._working(images, labels, seed, progress), evaluating(self.trainer, self.module, scorer.activity):
            scorer.check(self.trainer, self.module)
            scorer.on_load_checkpoint(self.trainer, self.module, {"global_step": self.step})
            bound = scorer.bounds(self.trainer, self.module)["test"]
            protocol = scorer.protocol(self.trainer, self.module, "test", bound)
            scores = scores_of(bound, protocol)
            if log_likelihood:
                scores |= likelihood_scores(data_of(self.trainer), "test", bound.per_example(), protocol)
        total = bound.terms()["total"]
        return LikelihoodResult(total.value, total.error, bound.per_example(), bound.terms(), bound.curve(), scores)

    @one_line_errors
    def picture(self, x: Images) -> Image.Image:
        """Examples (N, *) as one picture: images as a grid, points or sequences in a plot."""
        if not (x := torch.as_tensor(x)).numel():
            raise ConfigError(f"x: expected one example or more, got shape {tuple(x.shape)}")
        return examples.grid(x, self.data.extent)

    @one_line_errors
    def history(self, name: str = "train/loss") -> tuple[list[int], list[float]]:
        """A column of `metrics.csv`: steps, and values. Raises ConfigError if the file or the column is missing."""
        path = self.folder / "metrics.csv"
        if not path.is_file():
            raise ConfigError(f"{path}: no such file; a run that was trained has one")
        with path.open(newline="", encoding="utf-8") as file:
            rows = [*csv.DictReader(file)]
        if not rows or name not in rows[0]:
            known = ", ".join(column for column in (rows[0] if rows else ()) if column != "step")
            raise ConfigError(f"{path} has no column {name}; use one of {known}")
        pairs = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        return [step for step, _ in pairs], [value for _, value in pairs]

    def _encodes(self, **of_diffusion: Any) -> bool:
        """Whether the model encodes images into latents; then it takes no settings of diffusion models."""
        encodes = self.module.latent_model is not None
        given = next((name for name, value in of_diffusion.items() if value is not None), None)
        if encodes and given:
            raise ConfigError(f"{given}: expected None for {type(self.module).__name__}, which has no steps")
        return encodes

    @contextmanager
    def _working(
        self, images: Images | None, labels: Labels | None, seed: int | None, progress: bool
    ) -> Iterator[None]:
        """The trainer as the command line would have it: with these images as the test split, this seed, and bars."""
        if labels is not None and (images is None or self.module.num_classes is None):
            why = "the model takes none" if images is not None else "the images that they belong to are missing"
            raise ConfigError(f"labels: expected None, as {why}")
        data = self.data if images is None else GivenImages(self.data, images, labels)
        data.trainer = self.trainer
        bar = find_callback(self.trainer, RunProgress)
        self.trainer.datamodule = data  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        if bar is not None:
            (bar.enable if progress else bar.disable)()
        try:
            with seeded(self.settings["seed_everything"] if seed is None else seed), torch.no_grad():
                yield
        finally:
            self.trainer.datamodule = self.data  # type: ignore[attr-defined]
