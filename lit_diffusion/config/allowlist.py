"""What configurations may name: classes of these packages, and of those that the user adds."""

import os
import sys
from collections.abc import Iterable, Sequence

from jsonargparse import set_parsing_settings
from omegaconf import OmegaConf

from lit_diffusion.config.keys import is_within
from lit_diffusion.errors import ConfigError

FLAG, VARIABLE = "--allow", "LIT_DIFFUSION_ALLOW"
# Where classes that a setting takes are defined. Not all of torch and Lightning: both hold functions that run programs.
ALLOWED = (
    "lit_diffusion",
    "torch.nn",
    "torch.optim",
    *(
        f"lightning.pytorch.{kind}"
        for kind in ("callbacks", "loggers", "profilers", "strategies", "plugins", "accelerators", "core")
    ),
    *(f"lightning.fabric.{kind}" for kind in ("loggers", "strategies", "plugins", "accelerators")),
    *(f"torchvision.{kind}" for kind in ("models", "ops", "transforms")),
    "torchmetrics",
)
# Within these: what runs a file's program, starts processes, or loads models of others by name.
REFUSED = (
    "lit_diffusion.metrics.features.FileFeatures",
    "lightning.pytorch.strategies.launchers",
    "lightning.fabric.strategies.launchers",
    "torchmetrics.text",
    "torchmetrics.multimodal",
)
_added: set[str] = set()  # by this call and earlier ones in this process


def allow_only(packages: Iterable[str]) -> None:
    """From now on, values of configurations name classes of ALLOWED, of `packages` and of LIT_DIFFUSION_ALLOW alone.

    jsonargparse refuses all others before it imports them, and looks again at where what it has imported is defined, so
    that no path through an allowed module leads out. Environment variables are not read either.

    Raises ConfigError for what is no import path.
    """
    own = [name for text in (*packages, os.environ.get(VARIABLE, "")) for name in parts_of(text)]
    for name in own:
        if not all(part.isidentifier() for part in name.split(".")) or name.split(".")[0] == "jsonargparse":
            raise ConfigError(f"{FLAG}: {name} is no package that can be allowed; write its import path, as my_package")
    _added.update(set(own) - set(ALLOWED))
    trusted = [name for name in _added if is_within(name, own)]
    set_parsing_settings(  # which forgets nothing
        import_path_denylist=["*", *REFUSED, *(_added - {*trusted})],
        import_path_allowlist=[*ALLOWED, *trusted],
        instantiate_subclass_spec_in_any=False,
    )
    OmegaConf.clear_resolver("oc.env")


def is_own(module: str) -> bool:
    """Whether a module is of a package that the user has added, in this process."""
    return is_within(module, _added)


def parts_of(text: str) -> list[str]:
    """Packages, separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def take_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line without its `--allow PACKAGE` options, and what they name. Raises ConfigError for one without."""
    rest: list[str] = []
    allowed: list[str] = []
    left = iter(arguments)
    for argument in left:
        flag, equals, value = argument.partition("=")
        if flag != FLAG:
            rest.append(argument)
            continue
        value = value if equals else next(left, "")
        if not parts_of(value) or value.startswith("-"):
            raise ConfigError(f"{FLAG} names no package; write {FLAG}=my_package")
        allowed.append(value)
    return rest, allowed


def refusal(path: str) -> str:
    """What is wrong with naming `path`, and what to write if it is meant."""
    root = path.split(".")[0]
    known = root in sys.stdlib_module_names or root in {name.split(".")[0] for name in ALLOWED}
    own = path if known else root
    return f"{path} is not among what configurations may name; if you trust it, write {FLAG}={own}"
