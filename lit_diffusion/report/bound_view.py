"""The parts of the bound as tables: runs whose bound has the same parts are in one."""

from collections.abc import Sequence
from dataclasses import dataclass

from lit_diffusion.report.bound_files import BoundTerm
from lit_diffusion.report.grouping import RunGroup
from lit_diffusion.report.reported_run import ReportedRun
from lit_diffusion.table.experiment import group


@dataclass(frozen=True)
class BoundTable:
    """of: whose bound it is if the split has several tables. names: of the parts. rows: (number of the run, values).
    note: what is left out.
    """

    split: str
    of: str
    names: list[str]
    rows: list[tuple[int, list[str]]]
    note: str


def view_bounds(groups: Sequence[RunGroup], runs: Sequence[ReportedRun]) -> list[BoundTable]:
    """The tables of each split, runs in the order of the legend."""
    members = [(number, one) for one in groups for number in one.runs]
    found = []
    for split in dict.fromkeys(bound.split for run in runs for bound in run.bounds):
        terms = {n: bound.terms for n, _ in members for bound in runs[n].bounds if bound.split == split}
        tables = group((tuple(part.name for part in parts), number) for number, parts in terms.items())
        for names, numbers in tables.items():
            of = list(dict.fromkeys(one.name for number, one in members if number in numbers))
            more = f" and {len(of) - 1} more" if of[1:] else ""
            found.append(_make_table(split, f"{of[0]}{more}" if len(tables) > 1 else "", names, numbers, terms))
    return found


def _make_table(
    split: str, of: str, names: Sequence[str], numbers: Sequence[int], terms: dict[int, list[BoundTerm]]
) -> BoundTable:
    texts = {number: {part.name: _format_term(part) for part in terms[number]} for number in numbers}
    # the rate is the total without L_0, which is often nothing
    is_total = all("rate" in one and one["rate"] == one.get("total") for one in texts.values())
    shown = [name for name in names if not (is_total and name == "rate")]
    rows = [(number, [texts[number][name] for name in shown]) for number in numbers]
    return BoundTable(split, of, shown, rows, "rate: equal to the total, to these digits" if is_total else "")


def _format_term(part: BoundTerm) -> str:
    return f"{part.value:.4g}" + (f" ± {part.error:.2g}" if part.error else "")
