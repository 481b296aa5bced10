"""`lit-diffusion sweep FILE -c BASE`: every cell of a W&B sweep file on this machine, without a server."""

import argparse
import fcntl
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lit_diffusion.config.argument_parser import Parser
from lit_diffusion.config.keys import drop_init_args, option_key
from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.runs import summary
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.sweep.bayes import suggest
from lit_diffusion.sweep.cell import Cell
from lit_diffusion.sweep.job import ENDS, Job
from lit_diffusion.sweep.live_display import SweepDisplay
from lit_diffusion.sweep.runner import Sweep
from lit_diffusion.sweep.sweep_file import SweepFile
from lit_diffusion.table import command as table
from lit_diffusion.training import command as training_cli

SEED = "seed_everything"


def main(arguments: list[str]) -> None:
    """Runs the sweep. Exit status 1 where a cell has failed, 130 where Ctrl-C has ended it."""
    options, base = parser().parse_known_args(arguments)
    file = SweepFile.read(options.file)
    plan = Plan(file, options, base)
    jobs = plan.jobs()
    for note in file.notes:
        print(note, file=sys.stderr)
    if options.dry_run:
        for job in jobs:
            print(shlex.join(["lightning", *job.arguments]))
        return
    with SweepDisplay(options.jobs) as display:
        sweep = Sweep(jobs, options.jobs, plan.propose, display)
        sweep.run()
    if sweep.interrupted:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        sys.exit(130)
    failed = [job for job in sweep.jobs if job.state == "failed"]
    for job in failed:
        print(one_line(f"failed: {job.name}: {job.reason} ({job.log})"), file=sys.stderr)
    if any((job.folder / summary.FILE).exists() for job in sweep.jobs):
        print()
        table.show([str(plan.out)], file.name)
    sys.exit(1 if failed else 0)


def parser() -> Parser:
    """The options of the command; those of a training command are handed on."""
    result = Parser(
        prog="lit-diffusion sweep",
        description=__doc__,
        epilog="Any other option, as --trainer.max_steps=500, is one of every cell's command.",
        allow_abbrev=False,
    )
    result.add_argument("file", metavar="FILE", help="a W&B sweep file, as sweeps/table2.yaml")
    result.add_argument(
        "-c", "--config", action="append", required=True, metavar="BASE", help="what the cells start from; repeatable"
    )
    result.add_argument("--allow", action="append", default=[], metavar="PACKAGE", help="whose classes cells may name")
    result.add_argument("--out", type=Path, metavar="FOLDER", help="of the cells' folders (default: runs/NAME)")
    result.add_argument("--seeds", type=int, metavar="N", help="every cell with N seeds (default: 1)")
    result.add_argument("--jobs", type=int, default=1, metavar="N", help="cells at a time (default: %(default)s)")
    result.add_argument("--cells", type=int, metavar="N", help="how many, of random and bayes (default: run_cap)")
    result.add_argument("--dry-run", action="store_true", help="check every cell, print the commands, run nothing")
    return result


class Plan:
    """Which cells a sweep has, each checked as its own command would check it before it starts."""

    def __init__(self, file: SweepFile, options: argparse.Namespace, base: list[str]):
        for name, value in (("seeds", options.seeds), ("jobs", options.jobs), ("cells", options.cells)):
            if value is not None and value < 1:
                raise ConfigError(f"--{name}: {value} is too few; write 1 or more")
        if file.method == "bayes" and (options.seeds or 1) > 1:
            raise ConfigError("--seeds: bayes proposes one cell after another, each of one seed; write no --seeds")
        if SEED in file.parameters and options.seeds:
            raise ConfigError(f"--seeds: {file.path} gives {SEED} too; write it once")
        check_base(file, base)
        self.file, self.options = file, options
        self.out: Path = options.out or Path("runs") / (file.name or file.path.stem)
        configs = [part for config in options.config for part in ("-c", config)]
        allowed = [f"--allow={package}" for package in options.allow]
        self.command = [file.subcommand, *configs, *allowed, *file.options, *base]
        self.cap = None if file.method == "grid" else file.limit(options.cells)
        self._checked: dict[str, dict[str, Any]] = {}
        self._first_seed: int | None = None

    def jobs(self) -> list[Job]:
        """The cells that are known before any has run."""
        cells = self._chosen() if self.file.method == "bayes" else self.file.cells(self.options.cells)
        jobs = [self._job(cell) for cell in self._with_seeds(cells)]
        if self.file.method == "bayes" and not jobs:
            self._proposed([])  # so that a mistake is found before anything is written
        same: dict[str, Job] = {}
        for job in jobs:
            key = json.dumps({key: value for key, value in job.settings.items() if key != "run.name"}, default=str)
            if same.setdefault(key, job) is not job:
                raise ConfigError(
                    f"{self.file.path}: {same[key].name} and {job.name} are the same run; write one of them"
                )
        return jobs

    def _proposed(self, history: list[tuple[dict[str, Any], float | None]], number: int = 0) -> tuple[Cell, Job]:
        cell = Cell.of(suggest(self.file, history, number, seed=0))
        return cell, self._job(*self._with_seeds([cell]))

    def propose(self) -> Job | None:
        """The next cell of a search that learns from the cells before it."""
        if self.file.method != "bayes":
            return None
        with self._locked():
            cells = self._chosen()
            if self.cap is not None and len(cells) >= self.cap:
                return None
            tried = [(cell, self._job(*self._with_seeds([cell]))) for cell in cells]
            history = [(dict(cell.parameters), self._value(job)) for cell, job in tried if job.state in ENDS]
            cell, job = self._proposed(history, len(cells))
            cells.append(cell)
            with written_whole(self.out / "sweep.json") as temporary:
                content = {"schema": 1, "cells": [dict(cell.parameters) for cell in cells]}
                temporary.write_text(json.dumps(content, indent=2) + "\n")
        return job

    def _with_seeds(self, cells: list[Cell]) -> list[Cell]:
        """All cells of the first seed, then all of the next: a table is soon complete."""
        if SEED in self.file.parameters or not cells:
            return cells
        if self._first_seed is None:
            self._first_seed = int(self._job(cells[0]).settings[SEED])
        return [cell.with_seed(self._first_seed + index) for index in range(self.options.seeds or 1) for cell in cells]

    def _job(self, cell: Cell) -> Job:
        command = [*self.command, *cell.arguments]
        if cell.name not in self._checked:
            try:
                self._checked[cell.name] = training_cli.check(command)
            except ConfigError as error:
                raise ConfigError(f"{self.file.path}: {cell.name}: {error}") from error
        job = Job(cell.name, command, self.out, self._checked[cell.name])
        job.check()
        return job

    def _value(self, job: Job) -> float | None:
        scores, name = (job.summary() or {}).get("scores") or {}, self.file.metric["name"]
        if job.state == "finished" and name not in scores:
            raise ConfigError(f"{self.file.path}: metric: runs have no score {name}; write one of {', '.join(scores)}")
        return scores[name].get("value") if name in scores else None

    def _chosen(self) -> list[Cell]:
        path = self.out / "sweep.json"
        try:
            cells = json.loads(path.read_text())["cells"] if path.exists() else []
            return [Cell.of(parameters) for parameters in cells]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path} is damaged ({error}); remove it, or write another --out") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Two sweeps in one folder propose one after the other."""
        (self.out / "logs").mkdir(parents=True, exist_ok=True)
        lock = os.open(self.out / "logs" / "sweep.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def check_base(file: SweepFile, options: list[str]) -> None:
    """Raises ConfigError for options that a cell cannot have, or has already."""
    for option in options:
        key = option_key(option)
        if "=" not in option or not option.startswith("--"):
            raise ConfigError(f"{option}: is no option of a cell; write --KEY=VALUE")
        if key in ("print_config", "help"):
            raise ConfigError(f"--{key}: no option of a cell; leave it out, or write --dry-run")
        if key in ("run.dir", "run.name"):
            raise ConfigError(f"--{key}: each cell has a folder of its own; write --out")
        if key in map(drop_init_args, file.parameters):
            raise ConfigError(f"--{key}: {file.path} gives it too; write it once")
        if file.subcommand == "fit" and option in ("--ckpt_path=last", "--ckpt_path=best"):
            raise ConfigError(f"{option}: cells go on by themselves; write a file, or nothing")
