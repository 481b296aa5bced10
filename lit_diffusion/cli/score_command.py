"""`lit-diffusion score A B`: FID, IS, KID, precision and recall of any images against any others."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from lit_diffusion.callbacks.progress import RunProgress
from lit_diffusion.config.argument_parser import Parser
from lit_diffusion.data.image_set import SETS, open_images
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

PROTOCOLS = {protocol.__name__: protocol for protocol in (TorchFidelity, DDPMRelease)}
CLASSIFIERS: dict[str, Callable[[], FeatureExtractor]] = {
    "digits": DigitsFeatures,
    "mnist": MNISTFeatures,
    "fashion-mnist": FashionMNISTFeatures,
}
CHOICES = f"inception, {', '.join(CLASSIFIERS)}, or a .pt2 or .pt file"
BETTER = {"fid": "↓", "inception_score": "↑", "kid": "↓", "precision": "↑", "recall": "↑"}  # lower or higher
DETAILS = {  # of a single score, by keys of its protocol
    "splits": "{splits} splits",
    "neighbours": "{neighbours} neighbours",
    "subsets": "{subsets} subsets of {subset_size}",
    "samples_compared": "{samples_compared} against {reference_compared} images",
    "spread": "± {spread}",
}


def main(arguments: list[str]) -> None:
    """Computes the scores and prints them. Raises ConfigError for a user's mistake."""
    options = make_parser().parse_args(arguments)
    scores = compute_scores(options)
    if options.json:
        print(json.dumps({name: one.as_dict() for name, one in scores.items()}, indent=2, allow_nan=False))
    else:
        print(*report_lines(scores), sep="\n")


def report_lines(scores: dict[str, Score]) -> Iterator[str]:
    """What was compared and how, then each score with the details that only it has, as lines of text."""
    common = dict(scores["fid"].protocol)
    samples = f"{common.pop('images')}, {common.pop('samples')} images"
    for key, value in {"samples": samples, "reference": common.pop("reference"), **common}.items():
        yield f"{key:<15}  {value}"
    yield ""
    width = max(len(str(score)) for score in scores.values())
    for name, score in scores.items():
        details = [text.format_map(score.protocol) for key, text in DETAILS.items() if key in score.protocol]
        yield f"{name:<15}  {BETTER[name]} {score!s:<{width}}  {', '.join(details)}".rstrip()


def make_parser() -> Parser:
    """The command's options."""
    splits = f"{', '.join(SETS)} with :train or :test"
    images = (
        "a folder of images, a .zip, .tar, .parquet or .arrow file or a folder of these, an LMDB, an .npz file (arr_0: "
        f"uint8, N x H x W x C), or a split: {splits}"
    )
    result = Parser(prog="lit-diffusion score", description=__doc__)
    result.add_argument("samples", metavar="A", help=f"images to score: {images}")
    result.add_argument("reference", metavar="B", help="images to compare them with, given likewise")
    result.add_argument("--features", default="inception", help=f"{CHOICES} (default: %(default)s)")
    result.add_argument(
        "--weights", metavar="FILE", help="Inception's weights (default: from torch's cache, else downloaded)"
    )
    result.add_argument("--json", action="store_true", help="print the scores with their protocols as JSON")
    result.add_argument("--protocol", choices=[*PROTOCOLS], default="TorchFidelity", help="default: %(default)s")
    result.add_argument("--splits", type=int, default=10, help="parts of A to average IS over (default: %(default)s)")
    result.add_argument("--kid-subsets", type=int, default=100, help="0 to omit KID (default: %(default)s)")
    result.add_argument(
        "--kid-subset-size", type=int, default=1000, help="default: %(default)s, or all images if there are fewer"
    )
    result.add_argument(
        "--neighbours", type=int, default=3, help="of precision and recall, 0 to omit both (default: %(default)s)"
    )
    result.add_argument("--data-root", metavar="FOLDER", help="folder of the files of mnist, fashion_mnist, cifar10")
    result.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: %(default)s")
    return result


def compute_scores(options: argparse.Namespace) -> dict[str, Score]:
    """The scores of A against B."""
    device = parse_device(options.device)
    extractor = make_extractor(options.features, options.weights)
    protocol = PROTOCOLS[options.protocol](
        splits=options.splits,
        kid_subsets=options.kid_subsets,
        kid_subset_size=options.kid_subset_size,
        neighbours=options.neighbours,
    )
    channels = 1 if isinstance(extractor, ShippedClassifier) else 3
    samples, reference = (
        open_images(name, channels, options.data_root) for name in (options.samples, options.reference)
    )
    protocol.check(len(samples), len(reference), reference.name)
    notes = (samples.note, reference.note, extractor.check(samples.shape), extractor.check(reference.shape))
    for note in dict.fromkeys(filter(None, notes)):
        print(note, file=sys.stderr)
    if samples.shape[0] != reference.shape[0] and not isinstance(extractor, InceptionFeatures):
        channels_of = (f"{one.name} has {one.shape[0]} channels" for one in (samples, reference))
        raise ConfigError(f"{' and '.join(channels_of)}; use images with the same number of channels")
    if samples.shape[1:] != reference.shape[1:]:
        sizes = (f"{one.name} holds images of {'x'.join(map(str, one.shape[1:]))}" for one in (samples, reference))
        raise ConfigError(f"{', '.join(sizes)}: expected images of one size; resize them")
    extractor.load()
    progress = RunProgress(file=sys.stderr)

    def bar(what: str) -> Bar:
        return lambda total: progress.task(what, total, "images")

    theirs = reference_statistics(reference, extractor, protocol, device=device, bar=bar("reference"))
    assert theirs is not None  # as this is the only process
    ours = compute_statistics(samples, extractor, protocol, device=device, keep_logits=True, bar=bar("samples"))
    if min(ours.count, theirs.count) < len(ours.mean):
        print(
            f"{min(ours.count, theirs.count)} images are few for {len(ours.mean)} features: FID is biased upwards and "
            "comparable only between equal numbers of images",
            file=sys.stderr,
        )
    scores = compare(ours, {reference.name: theirs}, protocol, extractor)
    return {name: Score(one.value, one.std, {"images": samples.name, **one.protocol}) for name, one in scores.items()}


def parse_device(name: str) -> torch.device:
    """A device of this machine. Raises ConfigError if there is no such device or it lacks float64."""
    try:
        device = torch.device(name)
        torch.zeros(1, dtype=torch.float64, device=device).item()
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ConfigError(f"--device: expected a device of this machine with float64, got {name}; use cpu") from error
    return device


def make_extractor(name: str, weights: str | None) -> FeatureExtractor:
    """The extractor for `--features`: Inception, a classifier that ships with the package, or a file of the user's."""
    if weights is not None and name != "inception":
        raise ConfigError("--weights: only Inception takes weights; omit --features or --weights")
    if name == "inception":
        return InceptionFeatures(weights)
    if name in CLASSIFIERS:
        return CLASSIFIERS[name]()
    if Path(name).suffix in (".pt", ".pt2"):
        return FileFeatures(name)
    raise ConfigError(f"--features: expected {CHOICES}, got {name}")
