"""metrics.csv as curves, however it was left: half written, damaged, with values that are not finite."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field

from lit_diffusion.errors import one_line

FILE = "metrics.csv"
LARGEST = 200 * 2**20  # bytes; a run of a million steps has some 5 MB
MOST_COLUMNS = 200
TOO_LARGE = 1e100  # to be drawn
AXES = ("step", "epoch")


@dataclass
class MetricCurve:
    """A column by training step. not_drawn: the steps at which it was NaN, infinite, or too large to draw."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    not_drawn: list[int] = field(default_factory=list)

    def add(self, step: int, value: float) -> None:
        """A measurement. Of two at one step, as after a kill, the later counts."""
        if not abs(value) < TOO_LARGE:
            self.not_drawn.append(step)
        elif self.steps and self.steps[-1] == step:
            self.values[-1] = value
        else:
            self.steps.append(step)
            self.values.append(value)


def parse_curves(content: bytes) -> tuple[dict[str, MetricCurve], list[str]]:
    """The curves of a metrics.csv by column, and what is wrong with the file."""
    text = content.decode("utf-8", errors="replace")
    problems = []
    if text and not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        problems.append(f"{FILE}: its last line is cut off and left out")
    curves: dict[str, MetricCurve] = {}
    invalid, disordered = 0, False
    try:
        reader = csv.reader(io.StringIO(text, newline=""))
        header = [one_line(name) for name in next(reader, [])]
        if text and ("step" not in header or len(set(header)) < len(header) or len(header) > MOST_COLUMNS):
            return {}, [*problems, f"{FILE}: expected a line of names, one of them step; left out"]
        place = header.index("step") if header else 0
        columns = [(number, name) for number, name in enumerate(header) if name not in AXES]
        latest = -1
        for row in reader:
            step = _parse_step(row[place]) if len(row) == len(header) else None
            if step is None:
                invalid += bool(row)
                continue
            disordered, latest = disordered or step < latest, step
            for number, name in columns:
                if row[number]:
                    try:
                        curves.setdefault(name, MetricCurve()).add(step, float(row[number]))
                    except ValueError:
                        invalid += 1
    except csv.Error as error:
        problems.append(f"{FILE}: left out from line {reader.line_num} on ({one_line(error)})")
    if disordered:
        curves = {name: _in_order(curve) for name, curve in curves.items()}
    if invalid:
        problems.append(f"{FILE}: {invalid} lines or cells are not numbers and left out")
    return curves, [*problems, *_describe_gaps(curves)]


def _parse_step(text: str) -> int | None:
    try:
        step = float(text)
    except ValueError:
        return None
    return int(step) if 0 <= step < 1e15 else None


def _in_order(curve: MetricCurve) -> MetricCurve:
    ordered = MetricCurve(not_drawn=sorted(curve.not_drawn))
    for step, value in sorted(zip(curve.steps, curve.values), key=lambda point: point[0]):
        ordered.add(step, value)
    return ordered


def _describe_gaps(curves: dict[str, MetricCurve]) -> Iterator[str]:
    for name, curve in curves.items():
        if curve.not_drawn:
            count, first = len(curve.not_drawn), curve.not_drawn[0]
            times = "once" if count == 1 else f"{count} times"
            yield f"{name} is not a finite number {times}, first at step {first:,}"


def is_finite(value: object) -> bool:
    """Whether a value of JSON is a number that can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < TOO_LARGE
