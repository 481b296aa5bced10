"""The commands `lightning` and `lit-diffusion`: one entry for both."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import entry_points

from lit_diffusion import __version__
from lit_diffusion.errors import ConfigError

TRAINING = {
    "fit": "train a model: lightning fit -c configs/digits.yaml",
    "validate": "loss and scores of a checkpoint: lightning validate -c runs/X/config.yaml --ckpt_path last",
    "test": "the same, entered in summary.json: lightning test -c runs/X/config.yaml --ckpt_path best",
    "predict": "samples, reconstructions, interpolations: lightning predict -c runs/X/config.yaml --ckpt_path best",
}
TOOLS = {
    "sweep": "every cell of a sweep file, no server: lit-diffusion sweep sweeps/table2.yaml -c configs/digits.yaml",
    "table": "a paper's table, ours beside theirs: lit-diffusion table runs/table2 --layout table2",
    "score": "FID, IS, KID, precision, recall of any images: lit-diffusion score samples.npz cifar10:train",
    "import": "released weights become a run: lit-diffusion import google/ddpm-cifar10-32 -o runs/ddpm-cifar10",
    "export": "a run for other code bases: lit-diffusion export runs/X --format diffusers -o my-model",
    "doctor": "whether this machine can run all that, and what to do where it cannot: lit-diffusion doctor",
}
COMMANDS = {**TRAINING, **TOOLS}
HELP = f"""usage: lightning COMMAND -c CONFIG [-c OVERLAY ...] [--KEY=VALUE ...]

Diffusion models as a PyTorch Lightning experiment framework, version {__version__}.

commands:
{"".join(f"  {name:<10}{text}{chr(10)}" for name, text in COMMANDS.items())}
A configuration is a YAML file; later files and options override earlier ones:
  lightning fit -c configs/digits.yaml -c configs/objective/variational_bound.yaml
  lightning fit -c configs/digits.yaml --model.reverse.parameterization=PosteriorMean

Classes are those of this package, torch and Lightning; COMMAND ... --allow=my_package adds your own.

options:
  -h, --help   this text; `lightning COMMAND --help` lists all settings
  --version    the version
"""


def main() -> None:
    """Runs the command line in sys.argv. Exit status 2 and one line for a user's mistake, 130 for Ctrl-C."""
    if sys.stdout is None:  # closed, as by >&-
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    try:
        dispatch(sys.argv[1:])
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit as end:
        if end.code and (message := getattr(end, "message", "")):  # of a signal that has ended a run
            print(message, file=sys.stderr)
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EPIPE):
            raise
        sys.stdout = None  # what is left in its buffer would fail once more
        print(f"cannot write the output: {error.strerror}", file=sys.stderr)
        sys.exit(1)


def dispatch(arguments: list[str]) -> None:
    """Hands the arguments to the command that they name. Heavy imports wait until it is known."""
    command = arguments[0] if arguments else ""
    if command in ("-h", "--help"):
        print(HELP, end="")
    elif command == "--version":
        print(f"lit_diffusion {__version__}")
    elif command in TRAINING:
        os.environ.setdefault("WANDB_SILENT", "true")  # read once, when wandb is imported

        from lit_diffusion.training import command as training_cli

        training_cli.main(arguments)
    elif command in TOOLS:
        signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))  # removes what it has half written
        tool(command)(arguments[1:])
    elif command.startswith("-"):
        raise ConfigError(f"{command} comes before the command; write `lightning fit {' '.join(arguments[:2])} ...`")
    elif not command:
        raise ConfigError(f"no command given; write one of {', '.join(COMMANDS)}, or --help")
    else:
        lightning_sdk(command)


def tool(command: str) -> Callable[[list[str]], None]:
    """The function of a command that trains nothing itself."""
    if command == "score":
        from lit_diffusion.cli.score_command import main
    elif command == "sweep":
        from lit_diffusion.sweep.command import main
    elif command == "import":
        from lit_diffusion.interop.import_command import main
    elif command == "export":
        from lit_diffusion.interop.export_command import main
    elif command == "doctor":
        from lit_diffusion.doctor.command import main
    else:
        from lit_diffusion.table.command import main
    return main


def lightning_sdk(command: str) -> None:
    """Other commands belong to lightning-sdk, which owns `lightning` too: it runs them where it is installed."""
    theirs = [
        entry for entry in entry_points(group="console_scripts", name="lightning") if "lit_diffusion" not in entry.value
    ]
    if not theirs:
        raise ConfigError(
            f"there is no command {command}; write one of {', '.join(COMMANDS)} "
            "(commands of lightning-sdk need that package installed)"
        )
    theirs[0].load()()
