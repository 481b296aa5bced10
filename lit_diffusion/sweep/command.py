"""`lit-diffusion sweep FILE -c BASE`: every cell of a W&B sweep file on this machine, without a server."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lit_diffusion.config.argument_parser import Parser
from lit_diffusion.config.keys import drop_init_args, option_key
from lit_diffusion.config.sources import COMMAND_LINE
from lit_diffusion.config.suggestions import nearest
from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.runs import summary
from lit_diffusion.runs.atomic_files import written_whole
from lit_diffusion.runs.file_lock import lock_file
from lit_diffusion.sweep.bayes import list_ends, suggest
from lit_diffusion.sweep.cell import SEED, Cell
from lit_diffusion.sweep.job import ENDS, Job
from lit_diffusion.sweep.live_display import SweepDisplay
from lit_diffusion.sweep.runner import Sweep
from lit_diffusion.sweep.sweep_file import FOLDER, SweepFile
from lit_diffusion.table import command as table
from lit_diffusion.training import command as training


def main(arguments: list[str]) -> None:
    """Runs the sweep. Exit status 1 if a cell failed, 130 after Ctrl-C."""
    options, base = make_parser().parse_known_args(arguments)
    file = SweepFile.read(options.file)
    plan = Plan(file, options, base)
    jobs = plan.make_jobs()
    for note in file.notes:
        print(note, file=sys.stderr)
    if options.dry_run:
        for job in jobs or plan.preview():
            print(shlex.join(["lightning", *job.arguments]))
        return
    with SweepDisplay(options.jobs) as display:
        sweep = Sweep(jobs, options.jobs, plan.propose, display)
        sweep.run()
    if sweep.interrupted:
        print("interrupted; repeat the command to continue", file=sys.stderr)
        sys.exit(130)
    failed = [job for job in sweep.jobs if job.state == "failed"]
    for job in failed:
        print(one_line(f"failed: {job.name}: {job.reason} ({job.log})"), file=sys.stderr)
    if any((job.folder / summary.FILE).exists() for job in sweep.jobs):
        print()
        table.show([str(plan.out)], file.name)
    sys.exit(1 if failed else 0)


def make_parser() -> Parser:
    """The options of the command; those of a training command are passed on."""
    result = Parser(
        prog="lit-diffusion sweep",
        description=__doc__,
        epilog="Any other option, such as --trainer.max_steps=500, is passed to every cell.",
        allow_abbrev=False,
    )
    result.add_argument("file", metavar="FILE", help="a W&B sweep file, such as sweeps/table2.yaml")
    result.add_argument(
        *("-c", "--config"),
        action="append",
        default=[],
        metavar="BASE",
        help="the cells' base; repeatable; none if the sweep names complete files",
    )
    result.add_argument("--allow", action="append", default=[], metavar="PACKAGE", help="trust its classes; repeatable")
    result.add_argument("--out", type=Path, metavar="FOLDER", help="of the cells' folders (default: runs/NAME)")
    result.add_argument("--seeds", type=int, metavar="N", help="run every cell with N seeds (default: 1)")
    result.add_argument("--jobs", type=int, default=1, metavar="N", help="cells at a time (default: %(default)s)")
    result.add_argument("--cells", type=int, metavar="N", help="number of cells, random and bayes (default: run_cap)")
    result.add_argument("--dry-run", action="store_true", help="check every cell, print the commands, run nothing")
    return result


class Plan:
    """The cells of a sweep, each checked as its own command would check it, before any starts."""

    def __init__(self, file: SweepFile, options: argparse.Namespace, base: list[str]):
        for name in ("seeds", "jobs", "cells"):
            value = getattr(options, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name}: expected 1 or more, got {value}")
        if file.method == "bayes" and (options.seeds or 1) > 1:
            raise ConfigError("--seeds: bayes proposes cells of one seed each; omit --seeds")
        if SEED in file.parameters and options.seeds:
            raise ConfigError(f"--seeds: {file.path} also sets {SEED}; set it once")
        check_options(file, base)
        if not options.config and "config" not in file.parameters:
            raise ConfigError("lit-diffusion sweep: -c: expected the cells' base, got none; use -c configs/digits.yaml")
        self.file, self.options = file, options
        self.out: Path = options.out or Path("runs") / (file.name or file.path.stem)
        configs = [part for config in options.config for part in ("-c", config)]
        allowed = [f"--allow={package}" for package in options.allow]
        self.command = [file.subcommand, *configs, *allowed, *file.options, *base]
        shared = [*self.options.config, *(f"{COMMAND_LINE}: {option_key(option)}" for option in base)]
        self.places = tuple(f"{place}:" for place in shared)  # of mistakes outside the cells
        self.cap = None if file.method == "grid" else file.limit(options.cells)
        self._checked: dict[str, dict[str, Any]] = {}
        self._first_seed: int | None = None

    def make_jobs(self) -> list[Job]:
        """The cells that are known before any has run."""
        bayes = self.file.method == "bayes"
        cells = self._load_proposed() if bayes else self.file.cells(self.options.cells)
        jobs = [self._make_job(cell) for cell in self._with_seeds(cells)]
        if bayes:
            self._check_values()
        same: dict[str, Job] = {}
        for job in jobs:
            key = json.dumps({key: value for key, value in job.settings.items() if key != "run.name"}, default=str)
            if same.setdefault(key, job) is not job:
                raise ConfigError(f"{self.file.path}: {same[key].name} and {job.name} are the same run; remove one")
        return jobs

    def propose(self, jobs: list[Job]) -> Job | None:
        """The next cell of bayes, from the scores of the cells before it; None if there is none.

        jobs: of this sweep so far, which knows of failures that left no summary.
        """
        if self.file.method != "bayes":
            return None
        with self._locked():
            cells = self._load_proposed()
            if self.cap is not None and len(cells) >= self.cap:
                return None
            failed = {job.name for job in jobs if job.state == "failed"}
            history, running = list[tuple[dict[str, Any], float | None]](), list[dict[str, Any]]()
            for one in cells:
                settings, job = dict(one.parameters), self._make_job(*self._with_seeds([one]))
                if job.name in failed or (job.summary() or {}).get("status") == "failed":
                    history.append((settings, None))
                elif job.state in ENDS:
                    history.append((settings, self._get_score(job)))
                else:
                    running.append(settings)
            cell = self._suggest(history, running)
            if cell is None:
                self.cap = len(cells)  # all that there are
                return None
            following = self._make_job(*self._with_seeds([cell]))
            with written_whole(self._proposed) as temporary:
                content = {"schema": 1, "cells": [dict(one.parameters) for one in (*cells, cell)]}
                temporary.write_text(json.dumps(content, indent=2) + "\n")
        return following

    def preview(self) -> list[Job]:
        """The first cell that bayes will propose, which depends on no score."""
        print(
            f"bayes chooses each of {self.cap or 'its'} cells by the scores of those before; the first:",
            file=sys.stderr,
        )
        first = self._suggest()
        return [self._make_job(one) for one in self._with_seeds([first] if first else [])]

    def _check_values(self) -> None:
        """Checks the first cell, and in it each value that bayes may choose, so that none ends the search later."""
        first = self._suggest()
        settings = dict(first.parameters) if first else {}
        ends = ((key, end) for key, parameter in self.file.parameters.items() for end in list_ends(parameter))
        for one in (*({**settings, key: end} for key, end in ends), settings):
            self._make_job(Cell.make(one))

    def _suggest(
        self, history: Sequence[tuple[dict[str, Any], float | None]] = (), running: Sequence[dict[str, Any]] = ()
    ) -> Cell | None:
        settings = suggest(self.file, history, len(history) + len(running), seed=0, running=running)
        return None if settings is None else Cell.make(settings)

    def _with_seeds(self, cells: list[Cell]) -> list[Cell]:
        """All cells of the first seed, then all of the next: so the table is complete early."""
        if SEED in self.file.parameters or not cells:
            return cells
        if self._first_seed is None:
            self._first_seed = int(self._make_job(cells[0]).settings[SEED])
        return [cell.with_seed(self._first_seed + index) for index in range(self.options.seeds or 1) for cell in cells]

    def _make_job(self, cell: Cell) -> Job:
        command = [*self.command, *cell.arguments]
        if cell.name not in self._checked:
            try:
                self._checked[cell.name] = training.check(command)
            except ConfigError as error:
                of_all = str(error).startswith(self.places)
                raise error if of_all else ConfigError(f"{self.file.path}: {cell.name}: {error}") from error
        job = Job(cell.name, command, self.out, self._checked[cell.name])
        job.check()
        return job

    def _get_score(self, job: Job) -> float | None:
        scores, name = (job.summary() or {}).get("scores") or {}, self.file.metric["name"]
        if job.state == "finished" and name not in scores:
            raise ConfigError(f"{self.file.path}: metric: no run has {name}; choose one of {', '.join(scores)}")
        return scores[name].get("value") if name in scores else None

    @property
    def _proposed(self) -> Path:
        return self.out / "sweep.json"

    def _load_proposed(self) -> list[Cell]:
        try:
            cells = json.loads(self._proposed.read_text())["cells"] if self._proposed.exists() else []
            made = (Cell.make(parameters) for parameters in cells)
            return [*{tuple(cell.arguments): cell for cell in made}.values()]  # earlier versions could write one twice
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{self._proposed} is damaged ({error}); remove it, or choose another --out") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Waits until no other sweep in the folder is proposing a cell."""
        (self.out / "logs").mkdir(parents=True, exist_ok=True)
        lock = lock_file(self.out / "logs" / "sweep.lock", wait=True)
        try:
            yield
        finally:
            os.close(lock)


def check_options(file: SweepFile, options: list[str]) -> None:
    """Raises ConfigError for options that a cell cannot have, or that the sweep file sets."""
    for option in options:
        key = option_key(option)
        if "=" not in option or not option.startswith("--"):
            if option.startswith("--") and (near := nearest(option, make_parser().options)):
                raise ConfigError(f"lit-diffusion sweep: {option}: no such option; use {near}")
            raise ConfigError(f"{option}: expected --KEY=VALUE for an option of the cells")
        if key in ("print_config", "help", "trainer.fast_dev_run"):
            raise ConfigError(f"--{key}: not an option of cells; omit it, or use --dry-run")
        if key in FOLDER:
            raise ConfigError(f"--{key}: each cell has its own folder; use --out")
        if key in map(drop_init_args, file.parameters):
            raise ConfigError(f"--{key}: {file.path} also sets it; set it once")
        if file.subcommand == "fit" and option in ("--ckpt_path=last", "--ckpt_path=best"):
            raise ConfigError(f"{option}: cells resume by themselves; name a file, or omit it")
