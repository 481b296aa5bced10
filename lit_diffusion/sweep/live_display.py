"""The display of a running sweep: a live table in a terminal, a line for each change elsewhere."""

import os
import sys
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from lit_diffusion.errors import one_line
from lit_diffusion.sweep.job import ENDS, Job

STYLES = {"running": "bold", "finished": "green", "diverged": "yellow", "failed": "red", "elsewhere": "cyan"}


class SweepDisplay:
    """Shows the jobs of a sweep; a context that starts and ends the live table."""

    def __init__(self, slots: int):
        self.slots = slots
        self._console = Console(file=sys.stdout)
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._shown: dict[str, str] = {}

    def __enter__(self) -> "SweepDisplay":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, jobs: list[Job]) -> None:
        """Shows the current states of the jobs."""
        if self._live:
            self._live.update(self._table(jobs), refresh=True)
            return
        for number, job in enumerate(jobs, 1):
            if job.state != self._shown.get(job.name, "waiting"):
                took = f" in {format_duration(job.seconds)}" if job.seconds and job.state in (*ENDS, "failed") else ""
                reason = f": {one_line(job.reason)}" if job.reason else ""
                line = f"[{number}/{len(jobs)}] {job.name} {job.state}{took}{reason}"
                self._console.print(line, highlight=False, markup=False, soft_wrap=True)
                self._shown[job.name] = job.state

    def _table(self, jobs: list[Job]) -> Table:
        typical = get_typical_seconds(jobs)
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("cell", overflow="fold")
        table.add_column("status", no_wrap=True)
        labels = shorten_names([job.name for job in jobs])
        for name in ("step", "loss", "time", "left"):
            table.add_column(name, justify="right", no_wrap=True)
        for job in self._choose_rows(jobs):
            step, loss = job.progress()
            steps = f"{step}/{job.total_steps}" if job.state == "running" and job.total_steps else ""
            scoring = job.state == "running" and 0 < job.total_steps <= step
            status = "scoring" if scoring else job.state
            table.add_row(
                labels[job.name],
                f"[{STYLES.get(job.state, 'dim')}]{status}[/]",
                steps,
                "" if loss is None else f"{loss:.4g}",
                format_duration(job.seconds) if job.seconds else "",
                format_duration(estimate_seconds_left(job, typical)) if job.state == "running" else "",
            )
        ended = sum(job.state in (*ENDS, "failed") for job in jobs)
        table.caption = f"{ended} of {len(jobs)} cells ended{self._left(jobs, typical)}"
        table.caption_justify = "left"
        return table

    def _choose_rows(self, jobs: list[Job]) -> list[Job]:
        """All jobs if the terminal has room for them, otherwise the running ones and those before and after them."""
        room = max(3, self._console.height - 4)
        if len(jobs) <= room:
            return jobs
        running = [index for index, job in enumerate(jobs) if job.state == "running"] or [len(jobs) - 1]
        first = min(max(0, running[0] - room // 2), len(jobs) - room)
        return jobs[first : first + room]

    def _left(self, jobs: list[Job], typical: float | None) -> str:
        if typical is None or not any(job.state in ("waiting", "running") for job in jobs):
            return ""
        waiting = typical * sum(job.state == "waiting" for job in jobs)
        running = sum(estimate_seconds_left(job, typical) or 0.0 for job in jobs if job.state == "running")
        return f", about {format_duration((waiting + running) / self.slots)} left"


def shorten_names(names: list[str]) -> dict[str, str]:
    """By name of a cell, `key=value,key=value`: the values that differ, without the beginning that all values share."""
    parts = [name.split(",") for name in names]
    if len({tuple(part.partition("=")[0] for part in own) for own in parts}) != 1:
        return {name: name for name in names}  # of different keys
    columns = []
    for column in zip(*parts):
        values = [part.partition("=")[2] for part in column]
        if len(set(values)) > 1:
            alike = os.path.commonprefix(values)
            columns.append([value[alike.rfind("-") + 1 :] or value for value in values])
    labels = [" ".join(own) for own in zip(*columns)] if columns else names
    return dict(zip(names, labels if len(set(labels)) == len(set(names)) else names))


def get_typical_seconds(jobs: list[Job]) -> float | None:
    """The mean time of the cells that finished in this sweep, if there are any."""
    taken = [job.seconds for job in jobs if job.state == "finished" and job.seconds]
    return sum(taken) / len(taken) if taken else None


def estimate_seconds_left(job: Job, typical: float | None) -> float | None:
    """Until a running job ends, from the times of the others, or else from those of its training steps so far."""
    if typical is not None:
        return max(0.0, typical - job.seconds)
    step = job.progress()[0]
    done = step - job.first_step
    return job.seconds * (job.total_steps - step) / done if done > 0 and step < job.total_steps else None


def format_duration(seconds: float | None) -> str:
    """A duration such as 3:07 or 1:02:33; empty for None."""
    if seconds is None:
        return ""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
