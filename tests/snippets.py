"""The commands and files shown in README and docs, for test_pages.py; `python -m tests.snippets` parses each by itself.

pytest parses all options of commands that share a sub-command and a base configuration at once, in seconds; this, in a
minute, each command as it is shown. What a parser accepts can still be refused when it meets its data: nothing runs.
"""

import os
import re
import shlex
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import groupby
from pathlib import Path

from lit_diffusion.cli.commands import COMMANDS, TRAINING
from lit_diffusion.config.sources import ConfigSources
from lit_diffusion.errors import ConfigError
from lit_diffusion.sweep.sweep_file import SweepFile
from lit_diffusion.table.layout_file import read_layout
from lit_diffusion.training import command as training

os.environ.setdefault("WANDB_MODE", "offline")
ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
OURS = ("lightning", "lit-diffusion", "python -m lit_diffusion")
# programs of others that pages name, and words of the shell
OTHERS = {
    "apt-get",
    "done",
    "export",
    "for",
    "jupyter",
    "pip",
    "pytest",
    "python3",
    "sha256sum",
    "source",
    "tensorboard",
    "wandb",
}


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """(page, content) of each fenced block."""
    for page in PAGES:
        for content in re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M):
            yield page.relative_to(ROOT).as_posix(), content


def commands() -> Iterator[tuple[str, list[str]]]:
    """(page, words) of each command in blocks of shell, and after $ in blocks of output."""
    shown = [(page, re.findall(r"^\$ (.*)$", content, re.M)) for page, content in blocks("")]
    shown += [(page, re.sub(r"\\\n\s*", " ", content).splitlines()) for page, content in blocks("bash")]
    for page, lines in shown:
        for line in lines:
            tokens = shlex.shlex(re.sub(r"\$\w+", "0", line), posix=True, punctuation_chars=True)
            tokens.whitespace_split = True
            for separator, words in groupby(tokens, key={"&&", "||", ";", "|"}.__contains__):
                words = [word.removeprefix(".venv/bin/") for word in words]
                if words[0] in ("do", "srun", "sudo"):
                    words = words[1:]
                if words[:3] == ["python", "-m", "lit_diffusion"]:
                    words = ["lightning", *words[3:]]
                if words and not separator and "=" not in words[0]:
                    yield page, words


class Parsed(BaseException):
    """Raised in the place of building what has been parsed; nothing that handles errors stops it."""


def parse_training(name: str, arguments: list[str]) -> None:
    """Parses what `lightning NAME ARGUMENTS` would, with digits.yaml for files of runs. ConfigError for a mistake."""

    def stop(self: object) -> None:
        raise Parsed

    arguments = [re.sub(r"runs/\S+/config.yaml", "configs/digits.yaml", argument) for argument in arguments]
    arguments = [
        re.sub(r"^--ckpt_path.*|^last$|^best$|.*\.ckpt$|^--print_config$", "", argument) for argument in arguments
    ]
    build, training.TrainingCLI.instantiate_classes = training.TrainingCLI.instantiate_classes, stop
    try:
        training.set_up()
        training.TrainingCLI(ConfigSources([name, *filter(None, arguments)]))
    except Parsed:
        pass
    finally:
        training.TrainingCLI.instantiate_classes = build


def is_training(words: list[str]) -> bool:
    return words[0] in OURS and len(words) > 1 and COMMANDS.get(words[1], ("",))[0] == TRAINING


def check(words: list[str]) -> None:
    """Parses a command that is not one of training; ConfigError, or SystemExit of argparse, for a mistake."""
    if words[0] in OURS:
        arguments = words[2:]
        parser = import_module(COMMANDS[words[1]][0]).make_parser()
        if words[1] == "sweep":
            options, rest = parser.parse_known_args(arguments)
            for file in options.config:
                find_config(file)
            if options.file != "sweeps/0.yaml":  # each of a loop
                check_passed_on(rest, SweepFile.read(options.file))
        else:
            options = parser.parse_intermixed_args(arguments)
        if words[1] == "table" and options.layout and "my_" not in options.layout:
            read_layout(options.layout)
    elif words[0] == "python":
        check_program(words[1:])
    elif words[0] not in OTHERS:
        raise ConfigError(f"{words[0]}: a program that this test does not know")


def find_config(file: str) -> None:
    if not file.startswith(("runs/", "0")) and not (ROOT / file).is_file():
        raise ConfigError(f"{file}: no such file")


def check_passed_on(options: list[str], file: SweepFile) -> None:
    """What a sweep passes on to its cells looks like options; the training commands of pages parse their kind."""
    for option in options:
        if not re.fullmatch(r"--[\w.]+(\+?=.*)?", option):
            raise ConfigError(f"{file.name}: expected --KEY=VALUE, got {option}")


def check_program(words: list[str]) -> None:
    """`python FILE` and `python -m MODULE` of this repository: they exist and name each of these options."""
    if words[0] == "-c" or words[:2] == ["-m", "sphinx"]:
        return
    if words[0] == "-m":
        module = ROOT / words[1].replace(".", "/")
        files = list(module.glob("*.py")) if module.is_dir() else [module.with_suffix(".py")]
    else:
        files = [ROOT / words[0]]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    for option in (word.partition("=")[0] for word in words[1:] if word.startswith("--")):
        if option not in text and '"--{' not in text:
            raise ConfigError(f"{' '.join(words)}: the program has no {option}")


def main() -> int:
    failures = 0
    seen: set[str] = set()
    for page, words in commands():
        if (line := shlex.join(words)) in seen or "my_package" in line:
            continue
        seen.add(line)
        try:
            if is_training(words) and not any(word.endswith("help") for word in words):
                parse_training(words[1], words[2:])
            elif not is_training(words):
                check(words)
        except (ConfigError, SystemExit, OSError) as error:
            failures += 1
            print(f"{page}: {line}\n  {error}")
    print(f"{len(seen)} commands, {failures} of them wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
