"""Bits/dim: the variational bound of every image of a split, its three terms, and rate against distortion."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import astuple, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_diffusion.callbacks.class_labels import image_labels
from lit_diffusion.callbacks.ema import weights_in_use
from lit_diffusion.callbacks.evaluation import Evaluation
from lit_diffusion.callbacks.lookup import data_of, generative_of
from lit_diffusion.callbacks.progress import say, task
from lit_diffusion.data.image_data import ImageData
from lit_diffusion.diffusion.bound_estimate import Curve, Estimate, estimate_mean
from lit_diffusion.diffusion.null_model import NullModel, bits
from lit_diffusion.diffusion.schedule import float64_device
from lit_diffusion.errors import ConfigError, check_at_least
from lit_diffusion.metrics.score import Score
from lit_diffusion.modules.likelihood_bound import LikelihoodBound
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.seeding import derive_seed, seed_generator
from lit_diffusion.visualization import figures

SPLITS = ("train", "test")
NOT_SUMMANDS = ("total", "rate", "rmse", "importance-weighted")  # of the bound's terms


class BitsPerDim(Evaluation):
    """The bound on -log p(x_0) of all images of each split, in bits/dim, with the predicted x_0 clipped as in sampling;
    on -log p(x_0 | label) if the model takes labels.

    It is evaluated in `validate`, in `test`, every `every_n_steps` steps of a fit and, with `at_end`, at the end of it.
    Fits and `test` write `bits_per_dim/<split>.json` (L, its terms, rate, distortion), `.csv` (by step) and `.png`.

    log_likelihood: adds the figures of Sohl-Dickstein et al. 2015, in bits per pixel of images or per example of other
        data, for the test split (or, if it is empty, the training split): `K`, the bound on log p(x_0); `L_null`, log p
        under one Gaussian (or Bernoulli) fitted to the training data; `K_minus_null`; and `gap`, the true log p minus
        K, if the distribution of the data is known.
    terms: steps evaluated per image, 2 or more, one from each of this number of strata: an unbiased estimate at terms/T
        of the cost; null for all T. splits: empty splits are skipped. batch_size: network evaluations in a batch of one
        device. Randomness is a function of (seed, split, batch): the number of devices does not matter.
    """

    activity = "bits/dim"

    def __init__(
        self,
        every_n_steps: int = 0,
        at_end: bool = False,
        terms: int | None = 20,
        splits: list[str] = ["test", "train"],  # noqa: B006  never changed; the parser wants a list
        batch_size: int = 500,
        log_likelihood: bool = False,
    ):
        super().__init__(every_n_steps, at_end)
        if terms is not None and terms < 2:
            raise ConfigError(f"terms: expected 2 or more (t = 1 needs a term), or null for all; got {terms}")
        check_at_least(1, batch_size=batch_size)
        for split in splits:
            if split not in SPLITS:
                raise ConfigError(f"splits: expected {' or '.join(SPLITS)}, got {split!r}")
        self.terms, self.splits, self.batch_size = terms, list(splits), batch_size
        self.log_likelihood = log_likelihood

    @property
    def enabled(self) -> bool:
        return bool(self.splits)

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        sizes = data_of(trainer).sizes
        if not any(sizes[split] for split in self.splits):
            empty = " and ".join(self.splits)
            raise ConfigError(f"splits: the data have no images in {empty}; use another split, or [] for no bits/dim")
        generative_of(pl_module).bound(self.terms, 0, torch.device("cpu"))

    def bounds(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, LikelihoodBound]:
        """The bound of each split that has images, summed up over all devices."""
        data, module, device = data_of(trainer), generative_of(pl_module), float64_device(pl_module.device)
        splits = [split for split in self.splits if data.sizes[split]]
        half_range = 127.5 if data.num_levels else 1.0  # errors are on the scale of 8 bits
        bounds = {split: module.bound(self.terms, data.sizes[split], device, half_range) for split in splits}
        pairs = sum(bound.parts * data.sizes[split] for split, bound in bounds.items())
        with task(trainer, self.activity, pairs, "terms") as advance:
            for split, bound in bounds.items():
                self.add_split(trainer, pl_module, split, bound, advance)
                bound.reduce(partial(trainer.strategy.reduce, reduce_op="sum"))
                bound.add_constant(data.log_volume, math.prod(data.image_shape))
        return bounds

    def evaluate(self, trainer: Trainer, pl_module: LightningModule, final: bool) -> dict[str, Score]:
        data, scores, bounds = data_of(trainer), dict[str, Score](), self.bounds(trainer, pl_module)
        for split, bound in bounds.items():
            protocol = self.protocol(trainer, pl_module, split, bound)
            scores.update({f"{name}/{split}": score for name, score in scores_of(bound, protocol).items()})
            if trainer.is_global_zero and trainer.state.fn in ("fit", "test"):
                write_files(Path(trainer.default_root_dir) / "bits_per_dim" / split, bound, protocol)
            say(trainer, line(split, bound, " of 255" if data.num_levels else ""))
            if self.log_likelihood and split == ("test" if "test" in bounds else next(iter(bounds))):
                scores.update(log_likelihood(data, split, bound.per_example(), protocol))
        return scores

    def add_split(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        split: str,
        bound: LikelihoodBound,
        advance: Callable[[int], None],
    ) -> None:
        """Adds this rank's share of all pairs of an example and a part: batch b belongs to rank b mod world size."""
        module, data, ranks = generative_of(pl_module), data_of(trainer), trainer.world_size
        parts, size = bound.parts, self.batch_size
        pairs = range(data.sizes[split] * parts)
        batches = range(trainer.global_rank, -(-len(pairs) // size), ranks)
        of_batch = [pairs[b * size : (b + 1) * size] for b in batches]
        images = [torch.arange(part[0] // parts, part[-1] // parts + 1) for part in of_batch]
        for b, image, x_0 in zip(batches, images, data.batches(split, images)):
            label = image_labels(trainer, pl_module, split, image)
            generator = seed_generator(torch.Generator(module.device), derive_seed(module.seed, "bound", split, b))
            bound.add(x_0, label, pairs[b * size : (b + 1) * size], generator)
            advance(len(pairs[b * size : (b + ranks) * size]))  # the other ranks have done as much

    def protocol(
        self, trainer: Trainer, pl_module: LightningModule, split: str, bound: LikelihoodBound
    ) -> dict[str, Any]:
        """Everything that the bound of a split depends on."""
        module, data = generative_of(pl_module), data_of(trainer)
        return {
            "spread": "standard error",
            "unit": "bits/dim",
            "split": split,
            "images": data.sizes[split],
            **bound.describe(),
            "levels": data.num_levels,
            **({"log_volume": data.log_volume} if data.log_volume else {}),
            **({} if module.num_classes is None else {"given": "labels"}),
            "weights": weights_in_use(trainer),
            "seed": module.seed,
            "step": self.step(trainer),
        }


def scores_of(bound: LikelihoodBound, protocol: dict[str, Any]) -> dict[str, Score]:
    """The scores of a bound by name, in bits/dim unless their own protocol has another unit."""
    return {name: Score(*finite(value), protocol | own) for name, (value, own) in bound.scores().items()}


def log_likelihood(data: ImageData, split: str, bound: Tensor, protocol: dict[str, Any]) -> dict[str, Score]:
    """K, L_null, K - L_null and the gap to the true log p. bound: of each example of the split in bits/dim, (N,)."""
    shape = data.image_shape
    per_pixel = len(shape) == 3 and not data.bits_per_example
    # dimensions per example or, of an image, per pixel, whose channels count as one
    scale = math.prod(shape) / (shape[1] * shape[2] if per_pixel else 1)
    train, test = (data.batches(name, torch.arange(data.sizes[name]).split(1000)) for name in ("train", split))
    null = NullModel(train, data.num_levels)
    examples = [x.cpu() for x in test]
    l_null = -torch.cat([bits(null.nll(x) + data.log_volume) for x in examples]) * scale / math.prod(shape)
    k = -bound.double() * scale
    values = {"K": k, "L_null": l_null, "K_minus_null": k - l_null}
    log_p = [log_density for x in examples if (log_density := data.log_density(x)) is not None]
    if log_p:
        # example by example: the difference does not have the spread of the density itself
        values["gap"] = bits(torch.cat(log_p)) * scale / math.prod(shape) - k
    protocol = {**protocol, "unit": "bits/pixel" if per_pixel else "bits"}
    return {name: Score(*finite(estimate_mean(value)), protocol) for name, value in values.items()}


def finite(number: Estimate) -> tuple[float | None, float | None]:
    """Value and standard error, or None if the model has diverged or the bound is infinite."""
    return (number.value, number.error) if math.isfinite(number.value) else (None, None)


def line(split: str, bound: LikelihoodBound, unit: str) -> str:
    """One line for the terminal. unit: of the RMSE."""
    text = {
        # with its spread, a negligible term would fill the line with zeros
        name: f"{number.value:.1g}" if abs(number.value) < 0.001 else str(Score(*finite(number)))
        for name, number in bound.terms().items()
    }
    summands = ", ".join(f"{name} {value}" for name, value in text.items() if name not in NOT_SUMMANDS)
    rmse = f"; RMSE of x_0 {text['rmse']}{unit}" if "rmse" in text else ""
    weighted = f"; importance-weighted {text['importance-weighted']}" if "importance-weighted" in text else ""
    return f"{split}: {text['total']} bits/dim = {summands}{rmse}{weighted}"


def write_files(path: Path, bound: LikelihoodBound, protocol: dict[str, Any]) -> None:
    """Writes `path`.json and, of a bound by steps, .csv and .png; rmse is on the 0..255 scale, all else in bits/dim."""
    terms, curve = bound.terms(), bound.curve()
    summary: dict[str, Any] = {
        name: dict(zip(("value", "standard_error"), finite(number))) for name, number in terms.items()
    }
    with written_whole(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({**summary, "protocol": protocol}, indent=2) + "\n")
    if curve is None:
        return
    columns = [column.tolist() for column in astuple(curve)]
    with written_whole(path.with_suffix(".csv")) as temporary, temporary.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(field.name for field in fields(Curve))
        rows.writerows([value if math.isfinite(value) else "" for value in row] for row in zip(*columns))
    shown = ("first", "last", "terms", "terms_error", "rate", "rmse")
    numbers = {name: getattr(curve, name).numpy() for name in shown}
    title = f"{path.name}: {protocol['images']} images, {Score(*finite(terms['total']))} bits/dim"
    with written_whole(path.with_suffix(".png")) as temporary:
        figures.bound(title, **numbers).savefig(temporary, dpi=120)
