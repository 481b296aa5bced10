"""bits_per_dim/: the terms of the bound, and the bound by step, as `BitsPerDim` writes them."""

import csv
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

from lit_diffusion.config.keys import walk
from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.report.run_files import list_parts, read_part
from lit_diffusion.report.training_curves import TOO_LARGE, is_finite

LARGEST = 10 * 2**20  # bytes; real ones have less than 1 MB
NAME = re.compile(r"bits_per_dim/(\w{1,40})\.json")
MOST_TERMS, MOST_SPLITS = 100, 4


@dataclass(frozen=True)
class BoundTerm:
    """A part of the bound in bits/dim, or of what is measured with it; error: its standard error."""

    name: str
    value: float
    error: float | None


@dataclass(frozen=True)
class SplitBound:
    """The bound of one split. by_step: (middle of the steps, bits/dim per step), without L_0, the decoder's; rates:
    (rate in bits/dim, RMSE of the estimate of x_0 on the scale 0..255), by rate. Empty for models without steps.
    """

    split: str
    terms: list[BoundTerm]
    by_step: list[tuple[float, float]]
    rates: list[tuple[float, float]]


def read_bounds(folder: Path, problems: list[str]) -> list[SplitBound]:
    """The bounds of a run, `test` first. problems: receives a line for each file that is left out."""
    splits = [found[1] for name in list_parts(folder, "bits_per_dim") if (found := NAME.fullmatch(name))]
    bounds = []
    for split in sorted(splits, key=lambda split: (split != "test", split))[:MOST_SPLITS]:
        try:
            content = read_part(folder, f"bits_per_dim/{split}.json", LARGEST)
            table = read_part(folder, f"bits_per_dim/{split}.csv", LARGEST)
            rows = _parse_rows(table) if table else []
            bounds.append(SplitBound(split, _parse_terms(content or b""), *_make_curves(rows)))
        except ConfigError as error:
            problems.append(str(error))
        except (ValueError, KeyError, TypeError, csv.Error, RecursionError) as error:
            problems.append(f"bits_per_dim/{split}: damaged ({one_line(error)}); left out")
    return bounds


def _parse_terms(content: bytes) -> list[BoundTerm]:
    found = json.loads(content)
    if not isinstance(found, dict) or len(found) > MOST_TERMS or any(level > 5 for _, level in walk(found)):
        raise ValueError("not the terms of a bound")
    return [
        BoundTerm(name, part["value"], part["standard_error"] if is_finite(part.get("standard_error")) else None)
        for name, part in found.items()
        if isinstance(part, dict) and is_finite(part.get("value"))
    ]


def _parse_rows(content: bytes) -> list[dict[str, float]]:
    rows = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""))
    return [{name: float(row[name]) for name in ("first", "last", "terms", "rate", "rmse")} for row in rows]


def _make_curves(rows: list[dict[str, float]]) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    by_step = [
        ((row["first"] + row["last"]) / 2, row["terms"] / (row["last"] - row["first"] + 1))
        for row in rows
        if 1 < row["first"] <= row["last"]
    ]
    rates = [(row["rate"], row["rmse"]) for row in rows]

    def ordered(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return sorted(point for point in points if all(abs(number) < TOO_LARGE for number in point))

    return ordered(by_step), ordered(rates)
