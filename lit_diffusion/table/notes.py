"""What stands below a table: how its numbers were measured, over how many seeds, and whether they compare."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from lit_diffusion.table.experiment import FINISHED
from lit_diffusion.table.layout import Column
from lit_diffusion.table.model import TableRow
from lit_diffusion.table.protocols import sentences
from lit_diffusion.table.scores import known


def notes_of(rows: Sequence[TableRow], columns: Sequence[Column]) -> list[str]:
    """All of them, in order."""
    ours = list(dict.fromkeys(score for column in columns if not column.paper for score in column.scores))
    spread = [score for column in columns if not column.paper and column.spread for score in column.scores]
    single = [score for score in spread if any(has_own_spread(row, score) for row in rows)]
    return [
        *sentences(rows, ours, single),
        *_repetitions(rows, ours),
        *(note for row in rows for note in _casualties(row, ours)),
        *_papers(rows, columns, ours),
        *_caveats(rows, columns),
    ]


def has_own_spread(row: TableRow, score: str) -> bool:
    """Whether the ± of a number is that of the one measurement behind it."""
    measured = row.measured(score)
    return len(measured) == 1 and measured[0].std is not None


def _repetitions(rows: Sequence[TableRow], scores: Sequence[str]) -> Iterator[str]:
    """How many seeds the means are of."""
    counts: dict[int, list[str]] = {}
    for row in rows:
        seeds = max((len(row.measured(score)) for score in scores), default=0)
        if seeds:
            counts.setdefault(seeds, []).append(row.name)
    for seeds, names in sorted(counts.items()):
        if seeds > 1:
            where = f"{'; '.join(names)}: " if len(counts) > 1 else ""
            yield f"{where}mean ± standard deviation over {seeds} seeds"


def _casualties(row: TableRow, scores: Sequence[str]) -> Iterator[str]:
    """What became of the seeds that have no number, and why a run has diverged."""
    if row.experiment is None:
        return
    runs = row.experiment.runs
    if len(runs) == 1:
        if runs[0].status == "diverged" and runs[0].reason:
            yield f"{row.name} diverged: {runs[0].reason}"
        return
    said: dict[str, list[str]] = {}
    for score in scores:
        for status, count in Counter(row.experiment.states(score)).items():
            if status != FINISHED:
                said.setdefault(f"{count} of {len(runs)} seeds {status}", []).append(known(score).title)
    for what, titles in said.items():
        yield f"{row.name}: {what}" + (f" ({', '.join(titles)})" if len(titles) < len(scores) else "")


def _papers(rows: Sequence[TableRow], columns: Sequence[Column], scores: Sequence[str]) -> Iterator[str]:
    """Whose the paper's numbers are, and in what this code's were measured differently."""
    shown = [row for row in rows if row.paper and any(c.paper for c in columns)]
    for source, protocol in {row.paper.source: row.paper.protocol for row in shown if row.paper}.items():
        yield f"columns of the paper: {source}; the others: this code's runs"
        differences = []
        for field, theirs in protocol.items():
            ours = sorted({str(value) for value in _values(rows, scores, field)} - {theirs})
            if ours:
                differences.append(f"{field} {', '.join(ours)} instead of {theirs}")
        if differences:
            yield f"this code's numbers and the paper's do not compare: {'; '.join(differences)}"


def _caveats(rows: Sequence[TableRow], columns: Sequence[Column]) -> Iterator[str]:
    """What a reader must not take some scores for."""
    for score in dict.fromkeys(score for column in columns for score in column.scores if known(score).caveat):
        if any(row.measured(score) or (row.paper and score in row.paper.scores) for row in rows):
            yield f"{known(score).title}: {known(score).caveat}"


def _values(rows: Sequence[TableRow], scores: Sequence[str], field: str) -> Iterator[Any]:
    """What a field of the protocol, or the data set, is in this code's numbers."""
    for row in rows:
        for score in scores:
            for one in row.measured(score):
                if field in one.protocol:
                    yield one.protocol[field]
                elif row.experiment and field in row.experiment.settings:
                    yield row.experiment.settings[field]
