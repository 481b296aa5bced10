"""Bits/dim: the variational bound of every image of a split, in its three terms, and rate against distortion."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lit_diffusion.callbacks.ema import weights_in_use
from lit_diffusion.callbacks.evaluation import Evaluation
from lit_diffusion.callbacks.progress import say, task
from lit_diffusion.data.image_data import ImageData
from lit_diffusion.diffusion.bound_estimate import BoundEstimate, BoundSums, Curve, Estimate, estimate, mean_of, strata
from lit_diffusion.diffusion.null_model import NullModel, bits
from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics.score import Score
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.seeding import derive_seed
from lit_diffusion.visualization import figures

SPLITS = ("train", "test")


class BitsPerDim(Evaluation):
    """The bound on -log p(x_0) of all images of each split, in bits/dim, with the predicted x_0 clipped as in sampling.

    It is scored in `validate`, `test`, every `every_n_steps` steps of a fit, and at its end with `at_end`. Fits and
    `test` write `bits_per_dim/<split>.json` (L, its terms, rate and distortion), `.csv` (the same by step) and `.png`.

    log_likelihood: adds what Sohl-Dickstein et al. 2015 report, in bits per pixel of images and per example of other
        data, of the test split, or if there is none of the training split: `K`, the bound on log p(x_0); `L_null`,
        log p of one Gaussian (or Bernoulli) fitted to the training data; `K_minus_null`; and `gap`, the true log p
        minus K, where the data knows its distribution.
    terms: steps evaluated an image, 2 or more: one of each of so many strata, an unbiased estimate at terms / T of the
        cost; null for all T. splits: of the data; empty ones are left out. batch_size: network evaluations in a batch
        of one device. Randomness is a function of (seed, split, batch): the number of devices does not matter.
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
            raise ConfigError(f"terms: {terms} is too few, as t = 1 takes one; write 2 or more, or null for all")
        if batch_size < 1:
            raise ConfigError(f"batch_size: {batch_size} is no batch; write 1 or more")
        for split in splits:
            if split not in SPLITS:
                raise ConfigError(f"splits: {split!r} is no split of the data; write {' or '.join(SPLITS)}")
        self.terms, self.splits, self.batch_size = terms, list(splits), batch_size
        self.log_likelihood = log_likelihood

    @property
    def enabled(self) -> bool:
        return bool(self.splits)

    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        sizes = trainer.datamodule.sizes
        if not any(sizes[split] for split in self.splits):
            named = " and ".join(self.splits)
            raise ConfigError(f"splits: the data has no images in {named}; write another, or [] for no bits/dim")

    def evaluate(self, trainer: Trainer, pl_module: LightningModule, final: bool) -> dict[str, Score]:
        sizes = trainer.datamodule.sizes
        splits = [split for split in self.splits if sizes[split]]
        first = strata(pl_module.reverse.process.schedule, self.terms)
        pairs, scores = (len(first) - 1) * sum(sizes[split] for split in splits), {}
        with task(trainer, self.activity, pairs, "terms") as advance:
            for split in splits:
                sums = self.sums(trainer, pl_module, split, first, advance)
                for name in ("images", "strata"):
                    setattr(sums, name, trainer.strategy.reduce(getattr(sums, name), reduce_op="sum"))
                data = trainer.datamodule
                # half the range of values, on which errors are those of 8 bits
                bound = estimate(sums, 127.5 if data.num_levels else 1.0)
                protocol = self._protocol(trainer, pl_module, split, first)
                scores[f"bits_per_dim/{split}"] = Score(*finite(bound.total), protocol)
                if trainer.is_global_zero and trainer.state.fn in ("fit", "test"):
                    write_files(Path(trainer.default_root_dir) / "bits_per_dim" / split, bound, protocol)
                say(trainer, line(split, bound, " of 255" if data.num_levels else ""))
                if self.log_likelihood and split == ("test" if "test" in splits else splits[0]):
                    scores.update(log_likelihood(data, split, sums.images.sum(1).cpu(), protocol))
        return scores

    def sums(
        self, trainer: Trainer, pl_module: LightningModule, split: str, first: Tensor, advance: Callable[[int], None]
    ) -> BoundSums:
        """This rank's part of the sums over all pairs of image and stratum: batch b is of rank b mod world size."""
        data, device, ranks = trainer.datamodule, pl_module.device, trainer.world_size
        terms, size = len(first) - 1, self.batch_size
        pairs = range(data.sizes[split] * terms)
        batches = range(trainer.global_rank, -(-len(pairs) // size), ranks)
        of_batch = (pairs[b * size : (b + 1) * size] for b in batches)
        images = (torch.arange(part[0] // terms, part[-1] // terms + 1) for part in of_batch)
        # GPUs without float64, Apple's, sum on the CPU
        sums = BoundSums(first, data.sizes[split], torch.device("cpu") if device.type == "mps" else device)
        for b, x_0 in zip(batches, data.batches(split, images)):
            generator = torch.Generator(device).manual_seed(derive_seed(pl_module.seed, "bound", split, b))
            sums.add(pl_module.reverse, x_0, pairs[b * size : (b + 1) * size], generator)
            advance(len(pairs[b * size : (b + ranks) * size]))  # the other ranks are as far
        return sums

    def _protocol(self, trainer: Trainer, pl_module: LightningModule, split: str, first: Tensor) -> dict[str, Any]:
        reverse, data = pl_module.reverse, trainer.datamodule
        return {
            "spread": "standard error",
            "unit": "bits/dim",
            "split": split,
            "images": data.sizes[split],
            "terms": "all" if len(first) > reverse.num_steps else len(first) - 1,
            "T": reverse.num_steps,
            "levels": data.num_levels,
            **reverse.protocol,
            "weights": weights_in_use(trainer),
            "seed": pl_module.seed,
            "step": self.step(trainer),
        }


def log_likelihood(data: ImageData, split: str, bound: Tensor, protocol: dict[str, Any]) -> dict[str, Score]:
    """K, L_null, K - L_null and the gap to the truth, from the bound of each example of a split in bits/dim, (N,)."""
    shape = data.image_shape
    images = len(shape) == 3
    # bits of an example, or of a pixel, whose channels are one
    scale = math.prod(shape) / (shape[1] * shape[2] if images else 1)
    train, test = (data.batches(name, torch.arange(data.sizes[name]).split(1000)) for name in ("train", split))
    null = NullModel(train, data.num_levels)
    examples = [x.cpu() for x in test]
    l_null = -torch.cat([bits(null.nll(x)) for x in examples]) * scale / math.prod(shape)
    k = -bound.double() * scale
    values = {"K": k, "L_null": l_null, "K_minus_null": k - l_null}
    log_p = [data.log_density(x) for x in examples]
    if log_p and log_p[0] is not None:
        # against each example's own density, whose spread the difference does not have
        values["gap"] = bits(torch.cat(log_p)) * scale / math.prod(shape) - k
    protocol = {**protocol, "unit": "bits/pixel" if images else "bits"}
    return {name: Score(*finite(mean_of(value)), protocol) for name, value in values.items()}


def finite(number: Estimate) -> tuple[float | None, float | None]:
    """Value and standard error, or nothing where the model has diverged or the bound is infinite."""
    return (number.value, number.error) if math.isfinite(number.value) else (None, None)


def parts(bound: BoundEstimate) -> dict[str, Estimate]:
    """The figures of the whole chain by the names that files and the terminal show."""
    return {
        "total": bound.total,
        "L_T": bound.prior_kl,
        "L_1..T-1": bound.diffusion_kl,
        "L_0": bound.reconstruction_nll,
        "rate": bound.rate,
        "rmse": bound.rmse,
    }


def line(split: str, bound: BoundEstimate, unit: str = " of 255") -> str:
    """One line for the terminal. unit: of the RMSE."""
    text = {
        # the spread of a term that matters to no one would fill the line with zeros
        name: f"{number.value:.1g}" if abs(number.value) < 0.001 else str(Score(*finite(number)))
        for name, number in parts(bound).items()
    }
    three = ", ".join(f"{name} {text[name]}" for name in ("L_T", "L_1..T-1", "L_0"))
    return f"{split}: {text['total']} bits/dim = {three}; RMSE of x_0 {text['rmse']}{unit}"


def write_files(path: Path, bound: BoundEstimate, protocol: dict[str, Any]) -> None:
    """The files `path`.json, .csv and .png; rmse is on the 0..255 scale, all else in bits/dim."""
    summary: dict[str, Any] = {
        name: dict(zip(("value", "standard_error"), finite(number))) for name, number in parts(bound).items()
    }
    with written_whole(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({**summary, "protocol": protocol}, indent=2) + "\n")
    columns = [column.tolist() for column in astuple(bound.curve)]
    with written_whole(path.with_suffix(".csv")) as temporary, temporary.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(field.name for field in fields(Curve))
        rows.writerows([value if math.isfinite(value) else "" for value in row] for row in zip(*columns))
    c = bound.curve
    values = [tensor.numpy() for tensor in (c.first, c.last, c.terms, c.terms_error, c.rate, c.rmse)]
    title = f"{path.name}: {protocol['images']} images, {Score(*finite(bound.total))} bits/dim"
    with written_whole(path.with_suffix(".png")) as temporary:
        figures.bound(*values, title).savefig(temporary, dpi=120)
