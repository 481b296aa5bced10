"""Who owns `lightning`: lightning-sdk installs a command of that name too, and other environments have theirs."""

import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

from lit_diffusion.doctor.finding import Finding, ok, warning
from lit_diffusion.doctor.installation import PACKAGE, reinstall

NAME, SUBJECT = "lightning", "lightning command"
ALWAYS = f"{sys.executable} -m {PACKAGE}"


def examine() -> Iterator[Finding]:
    """One line: the file that PATH finds, and whose it is."""
    own = Path(sys.executable).parent
    found = shutil.which(NAME)
    facts = {"path": found, "claimed_by": sorted(claims())}
    if found is None and (own / NAME).exists():
        yield warning(SUBJECT, f"{own / NAME} is not on PATH", f"{activate(own)}, or write {ALWAYS}", **facts)
    elif found is None:
        yield warning(SUBJECT, "there is no such command", f"{reinstall()}, or write {ALWAYS}", **facts)
    else:
        yield whose(Path(found), own, facts)


def whose(found: Path, own: Path, facts: dict) -> Finding:
    """The finding on the file that PATH finds; `own` is the folder of this environment's commands."""
    text = found.read_bytes()[:4096].decode(errors="replace")
    module = imported(text)
    owner = PACKAGE if module == PACKAGE else claims().get(module, module or "something else")
    facts = {**facts, "owner": owner}
    if not same(interpreter(text) or found, own):
        instead = f"{activate(own)}, or write {ALWAYS}"
        return warning(SUBJECT, f"{found} is not this environment's; it runs {owner}", instead, **facts)
    if owner != PACKAGE:
        instead = f"{reinstall()}; lit-diffusion and {ALWAYS} are the same command"
        return warning(SUBJECT, f"{found} belongs to {owner}, not to {PACKAGE}", instead, **facts)
    others = sorted(set(claims().values()) - {PACKAGE})
    handed = f", which hands on the commands of {', '.join(others)}" if others else ""
    return ok(SUBJECT, f"{found} belongs to {PACKAGE}{handed}", **facts)


def claims() -> dict[str, str]:
    """Module to distribution, of every distribution here that declares a command `lightning`."""
    entries = entry_points(group="console_scripts", name=NAME)
    return {entry.value.partition(":")[0].partition(".")[0]: entry.dist.name for entry in entries if entry.dist}


def imported(text: str) -> str:
    """The package whose function a console script calls; empty where it is none."""
    names = re.findall(r"^\s*(?:from|import) ([A-Za-z_]\w*)", text, re.MULTILINE)
    return next((name for name in names if name not in ("re", "sys", "importlib")), "")


def interpreter(text: str) -> Path | None:
    """The Python that a console script starts: its first line, or the second where the path is long or has spaces."""
    match = re.match(r"#!(/\S*python\S*)\s", text) or re.match(
        r"#!/bin/sh\n'''exec' \"?(/[^\"\n]*?python[^\"\s]*)", text
    )
    return Path(match[1]) if match else None


def same(file: Path, folder: Path) -> bool:
    """Whether a file lies in a folder, whatever the links on the way there."""
    return file.parent.exists() and file.parent.samefile(folder)


def activate(folder: Path) -> str:
    """How PATH comes to find a folder first."""
    script = folder / "activate"
    return f"source {script}" if script.is_file() else f'export PATH="{folder}:$PATH"'
