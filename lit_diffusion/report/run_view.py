"""A run on the page: what became of it, what it cost, and the commands that repeat and continue it."""

import os
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from lit_diffusion.errors import one_line
from lit_diffusion.report.grouping import RunGroup
from lit_diffusion.report.reported_run import ReportedRun


@dataclass(frozen=True)
class RunView:
    """facts: (what, value). commands: (what for, command line, escaped: it is not cut). problems: lines."""

    number: int
    name: str
    group: RunGroup
    label: str
    status: str
    reason: str
    facts: list[tuple[str, str]]
    commands: list[tuple[str, Markup]]
    problems: list[str]


def view_runs(groups: Sequence[RunGroup], runs: Sequence[ReportedRun]) -> list[RunView]:
    """All runs, in the order of the legend."""
    return [
        RunView(
            number,
            runs[number].run.name,
            group,
            label,
            "silent" if runs[number].is_silent else runs[number].run.status,
            _describe_end(runs[number]),
            [pair for pair in _list_facts(runs[number]) if pair[1]],
            [(purpose, escape(command)) for purpose, command in _list_commands(runs[number])],
            runs[number].problems,
        )
        for group in groups
        for number, label in zip(group.runs, group.labels)
    ]


def _describe_end(run: ReportedRun) -> str:
    if run.is_silent:
        return f"says that it is running, but has written nothing since {format_time(run.written)}; it may be dead"
    ended_badly = run.run.status in ("failed", "diverged")
    return run.run.reason or ("no reason was recorded" if ended_badly else "")


def _list_facts(run: ReportedRun) -> Iterator[tuple[str, str]]:
    yield "step", "" if run.step is None else f"{run.step:,}"
    yield "seed", "" if run.run.seed is None else str(run.run.seed)
    parameters = run.run.facts.get("parameters")
    yield "parameters", f"{parameters.value:,.0f}" if parameters and parameters.value is not None else ""
    yield "time", ", ".join(f"{name} {format_seconds(one)}" for name, one in run.seconds().items())
    yield "last change", format_time(run.written) if run.written else ""
    yield "versions", ", ".join(f"{name} {one}" for name, one in run.part("versions").items())
    yield "commit", str(run.more.get("git") or "")
    yield "started in", str(run.more.get("working_folder") or "")


def _list_commands(run: ReportedRun) -> Iterator[tuple[str, str]]:
    """The commands that make sense now, for a shell in the folder where the page was made."""
    if not (run.folder / "config.yaml").is_file():
        return
    config = quote(f"{run.run.name}/config.yaml")
    yield "repeat", f"lightning fit -c {config}"
    has_last, has_best = ((run.folder / f"checkpoints/{name}.ckpt").is_file() for name in ("last", "best"))
    if has_last and (run.run.status == "failed" or run.is_silent):
        yield "continue", f"lightning fit -c {config} --ckpt_path last"
    if has_last or has_best:
        which = "best" if has_best else "last"
        yield "score again", f"lightning test -c {config} --ckpt_path {which}"
        yield "draw samples", f"lightning predict -c {config} --ckpt_path {which}"


def quote(path: str) -> str:
    """A path as an argument of bash and zsh, on one line without control characters, whatever it contains.

    >>> quote("runs/my run"), quote("runs/a\\n'b")
    ("'runs/my run'", "$'runs/a\\\\x0a\\\\x27b'")
    """
    if one_line(path) == path:
        return shlex.quote(path)
    escaped = (
        one if one.isprintable() and one not in " '\\" else "".join(f"\\x{byte:02x}" for byte in os.fsencode(one))
        for one in path
    )
    return f"$'{''.join(escaped)}'"


def format_seconds(seconds: float) -> str:
    """`12 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def format_time(seconds: float | None = None) -> str:
    """A time, or now, as people write it."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
