"""Everything that a page shows of one run, read from its folder; what cannot be read is said instead."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_diffusion.errors import ConfigError
from lit_diffusion.report import training_curves
from lit_diffusion.report.bound_files import SplitBound, read_bounds
from lit_diffusion.report.run_files import read_part
from lit_diffusion.report.training_curves import MetricCurve, is_finite, parse_curves
from lit_diffusion.runs import summary
from lit_diffusion.table.runs import Run

OLD = 3600.0  # seconds without a change after which a run that never ended is called silent


@dataclass(frozen=True)
class ReportedRun:
    """run: as tables see it. more: the rest of its summary. written: when its folder last changed, seconds.

    problems: a line for each file of the folder that cannot be shown as it is.
    """

    run: Run
    more: dict[str, Any]
    curves: dict[str, MetricCurve]
    bounds: list[SplitBound]
    written: float
    problems: list[str]

    @property
    def folder(self) -> Path:
        """Of the run."""
        return Path(self.run.name)

    @property
    def step(self) -> int | None:
        """Of its training, as far as is known."""
        steps = [curve.steps[-1] for curve in self.curves.values() if curve.steps]
        known = self.more.get("step")
        return max(steps, default=None) if self.run.status == "running" or not isinstance(known, int) else known

    @property
    def is_silent(self) -> bool:
        """Whether it says that it is running and has written nothing for long: a killed process leaves such a run."""
        return self.run.status == "running" and time.time() - self.written > OLD

    def part(self, name: str) -> dict[str, Any]:
        """A part of the summary that should be a mapping, such as `versions`."""
        found = self.more.get(name)
        return {key: one for key, one in found.items() if one is not None} if isinstance(found, dict) else {}

    def seconds(self) -> dict[str, float]:
        """By activity."""
        return {name: float(one) for name, one in self.part("seconds").items() if is_finite(one) and one >= 0}


def read_reported_run(run: Run) -> ReportedRun:
    """Reads the folder of a run. Never raises: files come and go while it runs."""
    folder, problems = Path(run.name), list[str]()
    try:
        more = summary.read(folder / summary.FILE)
    except ConfigError as error:
        more = {}
        problems.append(str(error))
    curves: dict[str, MetricCurve] = {}
    try:
        if content := read_part(folder, training_curves.FILE, training_curves.LARGEST):
            curves, found = parse_curves(content)
            # a run may be in the middle of a line
            problems += [one for one in found if run.status != "running" or "cut off" not in one]
    except ConfigError as error:
        problems.append(str(error))
    return ReportedRun(run, more, curves, read_bounds(folder, problems), _last_change(folder), problems)


def _last_change(folder: Path) -> float:
    times = []
    for name in (summary.FILE, training_curves.FILE, "samples", "checkpoints"):
        try:
            times.append((folder / name).lstat().st_mtime)
        except OSError:
            continue
    return max(times, default=0.0)
