"""FID, IS, KID, precision and recall from one pass over the images, exact on any number of devices."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics.estimators import inception_score, kernel_distance, share_within
from lit_diffusion.metrics.features import FeatureExtractor
from lit_diffusion.metrics.protocol import Protocol
from lit_diffusion.metrics.score import Score

Details = dict[str, Any]


@dataclass(frozen=True)
class Statistics:
    """What is kept of N images: enough for every score, on the CPU.

    mean (D,), covariance (D, D): of all features, float64. features (M, D): those of every n-th image, for KID,
    precision and recall. logits (N, K), or (0, K) for a reference. non_finite: images with a non-finite pixel.
    """

    count: int
    mean: Tensor
    covariance: Tensor
    features: Tensor
    logits: Tensor
    non_finite: int = 0


class Fidelity(Metric):
    """FID, KID, precision and recall against reference statistics, and IS with its standard deviation over splits, from
    one forward pass of `extractor` over the images: torch-fidelity's definitions, on float64 sums reduced over ranks.

    image_shape: (C, H, W). num_images: the number over all ranks, which determines the images whose features are kept.
    references: statistics by name. All scores are against the first; against the others only FID is computed, as
    `fid/test` for a name "test" or one ending in ":test". keep_logits: only IS needs them.
    protocol: what else scores depend on.

    Images may arrive in any order and on any rank: the result depends on their numbers only.
    """

    total: Tensor  # (D,), of features, float64
    outer: Tensor  # (D, D), of their outer products, float64
    count: Tensor
    non_finite: Tensor
    features: list[Tensor]
    logits: list[Tensor]
    numbers: list[Tensor]
    full_state_update = False
    is_differentiable = False

    def __init__(
        self,
        extractor: FeatureExtractor,
        protocol: Protocol,
        image_shape: tuple[int, ...],
        num_images: int,
        references: Mapping[str, Statistics] | None = None,
        keep_logits: bool = True,
    ):
        super().__init__(sync_on_compute=False)  # `statistics` gathers once
        extractor.load()
        self.extractor, self.protocol, self.references = extractor, protocol, references or {}
        self.stride, self.keep_logits = protocol.stride(num_images), keep_logits
        with torch.no_grad():
            features, logits = extractor(torch.zeros(1, *image_shape, device=find_device(extractor)))
        size = features.shape[1]
        self.add_state("total", torch.zeros(size, dtype=torch.float64), "sum")
        self.add_state("outer", torch.zeros(size, size, dtype=torch.float64), "sum")
        self.add_state("count", torch.tensor(0), "sum")
        self.add_state("non_finite", torch.tensor(0), "sum")
        for name in ("features", "logits", "numbers"):
            self.add_state(name, [], "cat")
        self._empty = {
            "features": torch.zeros(0, size),
            "logits": torch.zeros(0, logits.shape[1]),
            "numbers": torch.zeros(0, dtype=torch.long),
        }

    @torch.no_grad()
    def update(self, x: Tensor, numbers: Tensor) -> None:
        """Adds images x (B, C, H, W) in [-1, 1]. numbers (B,): their indices, from 0."""
        size = self.extractor.batch_size
        for images, indices in zip(x.to(self.device).split(size), numbers.to(self.device).split(size)):
            self._add(images, indices)

    def _add(self, x: Tensor, numbers: Tensor) -> None:
        finite = x.isfinite().flatten(1).all(1)
        self.non_finite += (~finite).sum()
        pixels = self.protocol.pixels(x.nan_to_num())
        pixels = pixels.clone(memory_format=torch.contiguous_format)  # strides select kernels, whose rounding differs
        with torch.autocast(self.device.type, enabled=False):  # scores do not depend on the trainer's precision
            features, logits = self.extractor(pixels)
        exact = features.double()
        self.total += exact.sum(0)
        self.outer += exact.T @ exact
        self.count += len(x)
        self.numbers.append(numbers)
        self.features.append(features[numbers % self.stride == 0])
        self.logits.append(logits if self.keep_logits else logits[:0])

    def statistics(self) -> Statistics:
        """The statistics of all ranks' images, on every rank."""
        for name, empty in self._empty.items():  # a rank without images takes part in the gathering
            setattr(self, name, getattr(self, name) or [empty.to(self.device)])
        with self.sync_context():
            features, logits, numbers = (_join(getattr(self, name)) for name in ("features", "logits", "numbers"))
            kept = numbers[numbers % self.stride == 0].argsort()
            count, total = int(self.count), self.total
            mean = total / count
            scatter = self.outer - count * mean[:, None] * mean
            return Statistics(
                count=count,
                mean=mean.cpu(),
                covariance=(scatter / max(count - 1, 1)).cpu(),
                features=features[kept].cpu(),
                logits=(logits[numbers.argsort()] if self.keep_logits else logits).cpu(),
                non_finite=int(self.non_finite),
            )

    def compute(self) -> dict[str, Score]:
        """The scores by name, equal on every rank."""
        return compare(self.statistics(), self.references, self.protocol, self.extractor)


def find_device(extractor: FeatureExtractor) -> torch.device:
    """The device of an extractor, which an earlier metric may have moved."""
    tensors = chain(extractor.parameters(), extractor.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def _join(parts: Tensor | list[Tensor]) -> Tensor:
    return parts if isinstance(parts, Tensor) else torch.cat(parts)


def compare(
    samples: Statistics, references: Mapping[str, Statistics], protocol: Protocol, extractor: FeatureExtractor
) -> dict[str, Score]:
    """The scores of samples against references, each with its protocol; all values are None if a sample is not finite.

    Raises ConfigError if features or scores are not finite, which a user's extractor may cause.
    """
    for name, one in {"the samples": samples, **references}.items():
        if not (one.covariance.isfinite().all() and one.logits.isfinite().all()):
            raise ConfigError(f"{extractor.name}: its features of {name} are not finite; use other features")
    common = {**protocol.describe(), "samples": samples.count, **extractor.describe()}
    scores = dict(_fid(samples, references, common))
    if len(samples.logits):
        scores["inception_score"] = _inception_score(samples, protocol, common)
    for name, reference in list(references.items())[:1]:
        against = {**common, "reference": f"{name}, {reference.count} images"}
        if protocol.kid_subsets:
            scores["kid"] = _kid(samples, reference, protocol, against)
        if protocol.neighbours:
            scores.update(_precision_recall(samples, reference, protocol, against))
    for name, score in scores.items():
        if score.value is None or not math.isfinite(score.value):
            raise ConfigError(f"{extractor.name}: {name} is not finite because features overflow; use other features")
    if samples.non_finite:
        return {name: replace(score, value=None, std=None) for name, score in scores.items()}
    return scores


def frechet_distance(one: Statistics, other: Statistics) -> float:
    """FID: the squared Fréchet distance of Gaussians with these means and covariances."""
    from torch_fidelity.metric_fid import fid_statistics_to_metric  # a second to import

    moments = ({"mu": part.mean.numpy(), "sigma": part.covariance.numpy()} for part in (one, other))
    return float(fid_statistics_to_metric(*moments, verbose=False)["frechet_inception_distance"])


def _fid(samples: Statistics, references: Mapping[str, Statistics], common: Details) -> Iterator[tuple[str, Score]]:
    for number, (name, other) in enumerate(references.items()):
        against = {**common, "reference": f"{name}, {other.count} images"}
        score = Score(frechet_distance(samples, other), None, against)
        yield f"fid/{name.split(':')[-1]}" if number else "fid", score


def _inception_score(samples: Statistics, protocol: Protocol, common: Details) -> Score:
    details = {"splits": protocol.splits, "shuffle": protocol.seed, "spread": "standard deviation over splits"}
    return Score(*inception_score(samples.logits, protocol.splits, protocol.seed), {**common, **details})


def _kid(samples: Statistics, reference: Statistics, protocol: Protocol, against: Details) -> Score:
    size = min(protocol.kid_subset_size, len(samples.features), len(reference.features))
    mean, std = kernel_distance(samples.features, reference.features, protocol.kid_subsets, size, protocol.seed)
    compared = {"samples_compared": len(samples.features), "reference_compared": len(reference.features)}
    details = {**against, **compared, "subsets": protocol.kid_subsets, "subset_size": size, "draw": protocol.seed}
    if size == len(samples.features) == len(reference.features):
        return Score(mean, None, details)  # each subset is all images: they differ by rounding only
    return Score(mean, std, {**details, "spread": "standard deviation over subsets"})


def _precision_recall(
    samples: Statistics, reference: Statistics, protocol: Protocol, against: Details
) -> dict[str, Score]:
    images = {"samples_compared": len(samples.features), "reference_compared": len(reference.features)}
    details = {**against, "neighbours": protocol.neighbours, **images}
    found = {
        "precision": share_within(samples.features, reference.features, protocol.neighbours),
        "recall": share_within(reference.features, samples.features, protocol.neighbours),
    }
    return {name: Score(value, None, details) for name, value in found.items()}
