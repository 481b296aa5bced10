"""The commands `lightning` and `lit-diffusion`: one entry for both."""

import errno
import gc
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points

from lit_diffusion import __version__
from lit_diffusion.cli.commands import COMMANDS, TRAINING, WORKERS
from lit_diffusion.cli.output import open_output
from lit_diffusion.config.suggestions import nearest
from lit_diffusion.errors import ConfigError
from lit_diffusion.memory import keep_freed_memory

HELP = f"""usage: lightning COMMAND -c CONFIG [-c OVERLAY ...] [--KEY=VALUE ...]

Diffusion models as a PyTorch Lightning experiment framework, version {__version__}.

commands:
{"".join(f"  {name:<10}{text}{chr(10)}" for name, (_, text) in COMMANDS.items())}
A configuration is a complete YAML file; overlays and options change it, later ones last:
  lightning fit -c configs/digits.yaml -c configs/objective/variational_bound.yaml
  lightning fit -c configs/digits.yaml --model.reverse.parameterization=PosteriorMean

Classes are those of this package, torch and Lightning; COMMAND ... --allow=my_package adds your own.

options:
  -h, --help   show this text; `lightning fit --help` explains all settings
  --version    show the version
"""


def main() -> None:
    """Runs the command line in sys.argv. Exits with status 2 and one line for a user's mistake, with 130 for Ctrl-C."""
    works_on = bool(WORKERS.intersection(sys.argv[1:2]))
    sys.stdout, sys.stderr = (open_output(stream, works_on) for stream in (sys.stdout, sys.stderr))
    try:
        dispatch(sys.argv[1:])
        sys.stdout.flush()
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit as end:
        if end.code and (message := getattr(end, "message", "")):  # from the signal that ended a run
            print(message, file=sys.stderr)
        raise
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"cannot write the output: {error.strerror}", file=sys.stderr)
        sys.exit(1)


def dispatch(arguments: list[str]) -> None:
    """Runs the command that the arguments name. Its module is imported only then, because most take seconds."""
    command = arguments[0] if arguments else ""
    if command in ("-h", "--help"):
        print(HELP, end="")
    elif command == "--version":
        print(f"lit_diffusion {__version__}")
    elif command in COMMANDS:
        module, _ = COMMANDS[command]
        if module == TRAINING:
            os.environ.setdefault("WANDB_SILENT", "true")  # wandb reads it once, when it is imported
        else:
            signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))  # removes unfinished files
            arguments = arguments[1:]
        keep_freed_memory()
        load(module)(arguments)
    elif command.startswith("-"):
        raise ConfigError(f"expected a command before {command}; use `lightning fit {' '.join(arguments[:2])} ...`")
    elif not command:
        raise ConfigError(f"no command given; use one of {', '.join(COMMANDS)}, or --help")
    else:
        run_lightning_sdk(command)


def load(module: str) -> Callable[[list[str]], None]:
    """The `main` of a module, imported without garbage collection: what imports create stays to the end, and
    searching it again and again took a third of a command's start.
    """
    gc.disable()
    try:
        main: Callable[[list[str]], None] = import_module(module).main
    finally:
        gc.enable()
    gc.freeze()
    return main


def run_lightning_sdk(command: str) -> None:
    """Passes other commands on to lightning-sdk, which also installs a `lightning`, if it is installed."""
    theirs = [
        entry for entry in entry_points(group="console_scripts", name="lightning") if "lit_diffusion" not in entry.value
    ]
    if not theirs:
        names = ", ".join(COMMANDS)
        raise ConfigError(
            f"unknown command {command}; use {nearest(command, COMMANDS) or f'one of {names}'} "
            "(commands of lightning-sdk need that package installed)"
        )
    theirs[0].load()()
