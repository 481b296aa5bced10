"""`lit-diffusion score A B`: FID, IS, KID, precision and recall of any images against any others."""

import json
from collections.abc import Iterator

import torch

from lit_diffusion.api.scoring import CHOICES, PROTOCOLS, score
from lit_diffusion.config.argument_parser import Parser
from lit_diffusion.data.image_set import SETS
from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics import Score

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
    options = vars(make_parser().parse_args(arguments))
    as_json = options.pop("json")
    try:
        scores = score(**options, progress=True)
    except ConfigError as error:
        flag = f"{error.key}: ".replace("_", "-")
        raise ConfigError(
            f"--{flag}{str(error).removeprefix(f'{error.key}: ')}" if error.key else str(error)
        ) from error
    if as_json:
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
    width = max(len(str(one)) for one in scores.values())
    for name, one in scores.items():
        details = [text.format_map(one.protocol) for key, text in DETAILS.items() if key in one.protocol]
        yield f"{name:<15}  {BETTER[name]} {one!s:<{width}}  {', '.join(details)}".rstrip()


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
