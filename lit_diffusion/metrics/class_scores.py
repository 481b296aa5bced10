"""Scores of samples by their labels: how many are recognised, and the FID of every class."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics.features import FeatureExtractor
from lit_diffusion.metrics.fidelity import Statistics, find_device, frechet_distance
from lit_diffusion.metrics.protocol import Protocol
from lit_diffusion.metrics.score import Score


def label_accuracy(samples: Statistics, labels: Tensor, extractor: FeatureExtractor, protocol: Protocol) -> Score:
    """The share of samples that the extractor's classifier recognises as of their labels (N,), with its standard error.

    None if a sample is not finite.
    """
    details = {**protocol.describe(), "samples": samples.count, **extractor.describe(), "spread": "standard error"}
    if samples.non_finite:
        return Score(None, None, details)
    share = (samples.logits.argmax(1) == labels.cpu()).double().mean().item()
    return Score(share, math.sqrt(share * (1 - share) / max(1, samples.count - 1)), details)


def class_distances(
    samples: Statistics,
    labels: Tensor,
    references: tuple[str, Statistics, Tensor],
    names: Sequence[str],
    extractor: FeatureExtractor,
    protocol: Protocol,
) -> dict[str, Score]:
    """`class_fid/NAME`, the FID of the samples of each class against the reference images of that class, and
    `intra_fid`, their mean  (Miyato & Koyama 2018); None if a sample is not finite.

    labels: of the samples, (N,). references: their name, statistics and labels (M,). All features must have been kept,
    see `check_classes`.
    """
    name, reference, reference_labels = references
    common = {**protocol.describe(), **extractor.describe()}
    scores, parts = dict[str, Score](), ((samples, labels.cpu()), (reference, reference_labels.cpu()))
    for number, class_name in enumerate(names):
        one, other = (_select(statistics, label == number) for statistics, label in parts)
        against = {"samples": one.count, "reference": f"{name}, {other.count} images of class {class_name}"}
        scores[f"class_fid/{class_name}"] = Score(frechet_distance(one, other), None, {**common, **against})
    mean = sum(score.value or 0.0 for score in scores.values()) / len(scores)
    against = {"samples": samples.count, "reference": f"{name}, {reference.count} images class by class"}
    scores = {"intra_fid": Score(mean, None, {**common, **against}), **scores}
    return {key: replace(score, value=None) for key, score in scores.items()} if samples.non_finite else scores


def check_classes(
    what: str,
    labels: Tensor,
    names: Sequence[str],
    image_shape: tuple[int, ...],
    extractor: FeatureExtractor,
    protocol: Protocol,
) -> None:
    """Raises ConfigError if `class_distances` cannot use images with these labels (N,). what: their name.

    FID of a class is that of kept features, and needs more of them than a feature vector has values.
    """
    if protocol.stride(len(labels)) > 1:
        raise ConfigError(
            f"expected at most scores.protocol.max_features = {protocol.max_features} {what}, got {len(labels)}, since "
            f"FID by class needs the features of all; set scores.protocol.max_features: {len(labels)}, or false"
        )
    size = extractor(torch.zeros(1, *image_shape, device=find_device(extractor)))[0].shape[1]
    counts = labels.bincount(minlength=len(names)).tolist()
    for name, count in zip(names, counts):
        if count <= size:
            raise ConfigError(
                f"expected more {what} of each class than the {size} features, for a covariance that is not singular, "
                f"got {count} of class {name}; use {size + 1} or more of each class, other features, or false"
            )


def _select(statistics: Statistics, chosen: Tensor) -> Statistics:
    """The statistics of the chosen images, a mask (N,)."""
    features = statistics.features[chosen].double()
    return replace(statistics, count=len(features), mean=features.mean(0), covariance=features.T.cov())
