"""What is known of scores before any run: their titles and directions, and the numbers that papers print."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import yaml

from lit_diffusion.errors import ConfigError

BOUND = "≤"
BY_CLASS = "class_fid/"  # begins the names of scores of one class
RAW = "/raw"  # ends the names of scores of raw weights
PAPERS = Path(__file__).parent / "paper.yaml"


@dataclass(frozen=True)
class KnownScore:
    """How a score is shown. title: of its column. best: lowest or highest. digits: after the point.

    prefix: of an upper bound. fixed: whether all digits are shown, or at most four significant ones. caveat: a note
    below every table with the score.
    """

    title: str
    best: str | None = None
    digits: int = 3
    prefix: str = ""
    fixed: bool = True
    caveat: str = ""


PARZEN = (
    "in many dimensions it is far from the likelihood and ranks models differently (Theis et al. 2016, "
    "arXiv 1511.01844)"
)
SECONDS = "time to draw 1000 samples, on the machine and with the threads of each run"
KNOWN = {
    "inception_score": KnownScore("IS", "highest", 2),
    "fid": KnownScore("FID", "lowest", 2),
    "fid/test": KnownScore("FID test", "lowest", 2),
    "kid": KnownScore("KID", "lowest", 4, fixed=False),
    "precision": KnownScore("precision", "highest"),
    "recall": KnownScore("recall", "highest"),
    "label_accuracy": KnownScore("label accuracy", "highest"),
    "intra_fid": KnownScore("intra-FID", "lowest", 2),
    "bits_per_dim/test": KnownScore("NLL test", "lowest", 3, BOUND),
    "bits_per_dim/train": KnownScore("NLL train", "lowest", 3, BOUND),
    "iw_bits_per_dim/test": KnownScore("IW NLL test", "lowest", 3, BOUND),
    "iw_bits_per_dim/train": KnownScore("IW NLL train", "lowest", 3, BOUND),
    "kl/test": KnownScore("KL test"),
    "kl/train": KnownScore("KL train"),
    "reconstruction/test": KnownScore("reconstruction test", "lowest"),
    "reconstruction/train": KnownScore("reconstruction train", "lowest"),
    "active_units/test": KnownScore("active units test", digits=1),
    "active_units/train": KnownScore("active units train", digits=1),
    "K": KnownScore("K", "highest"),
    "K_minus_null": KnownScore("K - L_null", "highest"),
    "L_null": KnownScore("L_null"),
    "gap": KnownScore("gap to the truth", "lowest"),
    "parzen_log_likelihood": KnownScore("Parzen", "highest", 1, caveat=PARZEN),
    # facts rather than scores
    "parameters": KnownScore("parameters", digits=0),
    "nfe": KnownScore("NFE", digits=0),
    "seconds_per_1000_samples": KnownScore("s / 1000 samples", digits=4, fixed=False, caveat=SECONDS),
}


def is_known(name: str) -> bool:
    """Whether this package computes a score of that name."""
    return name.removesuffix(RAW) in KNOWN


def describe_score(name: str) -> KnownScore:
    """How a score is shown; an unknown one by its name, without a direction."""
    plain = name.removesuffix(RAW)
    score = KNOWN.get(plain, KnownScore(plain, digits=6, fixed=False))
    if plain.startswith(BY_CLASS):
        score = replace(KNOWN["fid"], title=f"FID of {plain.removeprefix(BY_CLASS)}")
    return replace(score, title=f"{score.title} (raw weights)") if name.endswith(RAW) else score


@dataclass(frozen=True)
class PrintedNumber:
    """A number of a paper, as text so that it keeps its digits. value: None if training was unstable."""

    value: str | None
    std: str | None = None
    is_bound: bool = False


@dataclass(frozen=True)
class PaperRow:
    """A row of a paper's table: numbers by score, its source, and the protocol, by the names of our summaries."""

    scores: Mapping[str, PrintedNumber]
    source: str
    protocol: Mapping[str, str]


@cache
def load_paper_rows() -> dict[str, PaperRow]:
    """All rows of paper.yaml by ID, paper/row."""
    text = PAPERS.read_text(encoding="utf-8")
    papers = yaml.load(text, Loader=yaml.BaseLoader)  # all values as text: 4.60 keeps its zero
    return {
        f"{paper}/{name}": PaperRow(
            {score: _read_printed(number) for score, number in row.items()}, content["source"], content["protocol"]
        )
        for paper, content in papers.items()
        for name, row in content["rows"].items()
    }


def _read_printed(number: str | dict[str, str]) -> PrintedNumber:
    if isinstance(number, str):  # unstable
        return PrintedNumber(None)
    return PrintedNumber(number["value"], number.get("std"), number.get("bound") == "true")


def get_paper_row(name: str) -> PaperRow:
    """The row of that ID. Raises ConfigError if there is none."""
    rows = load_paper_rows()
    if name not in rows:
        raise ConfigError(f"no row {name} in any paper; choose one of {', '.join(rows)}")
    return rows[name]
