"""FID, IS, KID, precision and recall of any images against any others."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lit_diffusion.api.prompt import one_line_errors
from lit_diffusion.callbacks.progress import RunProgress
from lit_diffusion.data.image_set import ImageSet, image_set, open_images
from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics import (
    DDPMRelease,
    DigitsFeatures,
    FashionMNISTFeatures,
    FeatureExtractor,
    FileFeatures,
    InceptionFeatures,
    MNISTFeatures,
    Score,
    ShippedClassifier,
    TorchFidelity,
    compare,
)
from lit_diffusion.metrics.reference_statistics import Bar, compute_statistics, reference_statistics
from lit_diffusion.runs.notice import notice

PROTOCOLS = {protocol.__name__: protocol for protocol in (TorchFidelity, DDPMRelease)}
CLASSIFIERS: dict[str, Callable[[], FeatureExtractor]] = {
    "digits": DigitsFeatures,
    "mnist": MNISTFeatures,
    "fashion-mnist": FashionMNISTFeatures,
}
CHOICES = f"inception, {', '.join(CLASSIFIERS)}, or a .pt2 or .pt file"
Images = str | os.PathLike[str] | Tensor | np.ndarray


@one_line_errors
def score(
    samples: Images,
    reference: Images,
    features: str = "inception",
    weights: str | None = None,
    protocol: str = "TorchFidelity",
    splits: int = 10,
    kid_subsets: int = 100,
    kid_subset_size: int = 1000,
    neighbours: int = 3,
    data_root: str | None = None,
    device: str | None = None,
    progress: bool = False,
) -> dict[str, Score]:
    """The scores of `samples` against `reference`, by name, with their protocols: those of `lit-diffusion score`.

    samples, reference: a folder of images, an archive or table of images, an NPZ file, a split such as "digits:train",
    or a tensor or array (N, C, H, W), floats in [-1, 1] or uint8. features: inception, digits, mnist, fashion-mnist, or
    a .pt2 or .pt file. weights: a file of Inception's. protocol: TorchFidelity or DDPMRelease. kid_subsets, neighbours:
    0 leaves out KID, and precision and recall. data_root: of the files of mnist, fashion_mnist and cifar10. device: by
    default a GPU if there is one. progress: whether bars show how far it is.

    Raises ConfigError for images that cannot be read or compared.
    """
    on = parse_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    extractor = make_extractor(features, weights)
    if protocol not in PROTOCOLS:
        raise ConfigError(f"expected {' or '.join(PROTOCOLS)}, got {protocol}", key="protocol")
    rules = PROTOCOLS[protocol](
        splits=splits, kid_subsets=kid_subsets, kid_subset_size=kid_subset_size, neighbours=neighbours
    )
    channels = 1 if isinstance(extractor, ShippedClassifier) else 3
    ours, theirs = (
        open_any(name, source, channels, data_root) for name, source in (("samples", samples), ("reference", reference))
    )
    rules.check(len(ours), len(theirs), theirs.name)
    for note in dict.fromkeys((ours.note, theirs.note, extractor.check(ours.shape), extractor.check(theirs.shape))):
        if note:
            notice(note)
    if ours.shape[0] != theirs.shape[0] and not isinstance(extractor, InceptionFeatures):
        channels_of = (f"{one.name} has {one.shape[0]} channels" for one in (ours, theirs))
        raise ConfigError(f"{' and '.join(channels_of)}; use images with the same number of channels")
    if ours.shape[1:] != theirs.shape[1:]:
        sizes = (f"{one.name} holds images of {'x'.join(map(str, one.shape[1:]))}" for one in (ours, theirs))
        raise ConfigError(f"{', '.join(sizes)}: expected images of one size; resize them")
    extractor.load()
    bars = RunProgress(file=sys.stderr)
    (bars.enable if progress else bars.disable)()

    def bar(what: str) -> Bar:
        return lambda total: bars.task(what, total, "images")

    known = reference_statistics(theirs, extractor, rules, device=on, bar=bar("reference"))
    assert known is not None  # as this is the only process
    found = compute_statistics(ours, extractor, rules, device=on, keep_logits=True, bar=bar("samples"))
    if min(found.count, known.count) < len(found.mean):
        notice(
            f"{min(found.count, known.count)} images are few for {len(found.mean)} features: FID is biased upwards and "
            "comparable only between equal numbers of images"
        )
    scores = compare(found, {theirs.name: known}, rules, extractor)
    return {name: Score(one.value, one.std, {"images": ours.name, **one.protocol}) for name, one in scores.items()}


def open_any(name: str, source: Images, channels: int, root: str | None) -> ImageSet:
    """The images of a tensor or array, or of what `open_images` reads."""
    if isinstance(source, Tensor | np.ndarray):
        return image_set(name, torch.as_tensor(source))
    return open_images(os.fspath(source), channels, root)


def parse_device(name: str) -> torch.device:
    """A device of this machine. Raises ConfigError if the device does not exist or lacks float64."""
    try:
        device = torch.device(name)
        torch.zeros(1, dtype=torch.float64, device=device).item()
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ConfigError(
            f"expected a device of this machine with float64, got {name}; use cpu", key="device"
        ) from error
    return device


def make_extractor(name: str, weights: str | None) -> FeatureExtractor:
    """The extractor of a name: Inception, a classifier that ships with the package, or a file of the user's."""
    if weights is not None and name != "inception":
        raise ConfigError("only Inception takes weights; omit this, or the features", key="weights")
    if name == "inception":
        return InceptionFeatures(weights)
    if name in CLASSIFIERS:
        return CLASSIFIERS[name]()
    if Path(name).suffix in (".pt", ".pt2"):
        return FileFeatures(name)
    raise ConfigError(f"expected {CHOICES}, got {name}", key="features")
