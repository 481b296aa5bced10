"""`lit-diffusion doctor`: whether this machine can run lit_diffusion, and what to do where it cannot."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

from lit_diffusion import __version__
from lit_diffusion.config.argument_parser import Parser
from lit_diffusion.doctor import devices, folders, lightning_command, machine, packages, services, weights
from lit_diffusion.doctor.display import show
from lit_diffusion.doctor.finding import OK, PROBLEM, WARNING, Finding, warning
from lit_diffusion.errors import first_words

Sections = dict[str, list[Finding]]


def main(arguments: list[str]) -> None:
    """Examines and prints. Exit status 1 where something prevents work; warnings do not change it."""
    options = parser().parse_args(arguments)
    os.environ.setdefault("WANDB_SILENT", "true")  # read once, when wandb is imported
    with redirect_stdout(sys.stderr):  # what imported packages have to say is no part of the answer
        sections = examined(Path(options.run_dir))
    verdict = worst(one for findings in sections.values() for one in findings)
    if options.json:
        found = {name: [one.as_dict() for one in findings] for name, findings in sections.items()}
        print(json.dumps({"version": __version__, "status": verdict, "findings": found}, indent=2, allow_nan=False))
    else:
        show(sections)
    if verdict == PROBLEM:
        sys.exit(1)


def parser() -> Parser:
    """The options of the command."""
    result = Parser(
        prog="lit-diffusion doctor",
        description=__doc__,
        epilog="Exit status: 0, or 1 where a problem prevents work; warnings do not change it. lightning is never "
        "imported, and nothing is downloaded or changed.",
    )
    result.add_argument("--json", action="store_true", help="print the same as JSON")
    result.add_argument(
        "--run.dir", dest="run_dir", metavar="DIR", default="runs", help="where runs go (default: %(default)s)"
    )
    return result


def examined(run_dir: Path) -> Sections:
    """All findings by section. Beside malicious code, nothing that is installed is imported."""
    parts: dict[str, Callable[[], Iterable[Finding]]] = {
        "packages": packages.examine,
        "command": lightning_command.examine,
        "machine": machine.examine,
        "devices": devices.examine,
        "folders": lambda: folders.examine(run_dir),
        "weights": weights.examine,
        "W&B": services.wandb,
        "SLURM": services.slurm,
    }
    if packages.malicious():
        for name in ("devices", "weights", "W&B"):
            parts[name] = partial(spared, name)
    return {name: list(guarded(name, part)) for name, part in parts.items()}


def spared(name: str) -> list[Finding]:
    return [warning(name, "not examined beside malicious code", "remove that first")]


def guarded(name: str, part: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of a part; one that fails is a finding itself, for the others are still worth knowing."""
    try:
        yield from part()
    except Exception as error:  # this command is for machines on which anything may be broken
        mend = "install what is missing or does not fit; if nothing is named above, this is a fault of lit_diffusion"
        yield warning(name, f"could not be examined ({first_words(error)})", mend)


def worst(findings: Iterable[Finding]) -> str:
    """The level of the gravest one."""
    return max((one.level for one in findings), key=[OK, WARNING, PROBLEM].index, default=OK)
