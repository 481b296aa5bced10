"""The allow-list: configurations name classes of these packages and of those that the user adds, no others."""

import os
import sys
from collections.abc import Iterable, Sequence

from jsonargparse import set_parsing_settings
from omegaconf import OmegaConf

from lit_diffusion.config.keys import is_within
from lit_diffusion.errors import ConfigError

FLAG, VARIABLE = "--allow", "LIT_DIFFUSION_ALLOW"
# Where classes for settings are defined. Not all of torch and Lightning: both contain functions that run programs.
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
# Within those: what runs the code in a file, starts processes, or downloads models by name.
REFUSED = (
    "lit_diffusion.metrics.features.FileFeatures",
    "lightning.pytorch.strategies.launchers",
    "lightning.fabric.strategies.launchers",
    "torchmetrics.text",
    "torchmetrics.multimodal",
)
_added: set[str] = set()  # by this call and earlier ones in this process


def allow_only(packages: Iterable[str]) -> None:
    """From now on, configurations may name only classes of ALLOWED, `packages` and LIT_DIFFUSION_ALLOW.

    jsonargparse refuses others before importing them, and checks where an imported object is defined, so that no path
    through an allowed module leads outside. Environment variables cannot be read by configurations either.

    Raises ConfigError for anything that is not an import path.
    """
    own = [name for text in (*packages, os.environ.get(VARIABLE, "")) for name in parts_of(text)]
    for name in own:
        if not all(part.isidentifier() for part in name.split(".")) or name.split(".")[0] == "jsonargparse":
            raise ConfigError(f"{FLAG}: expected the import path of a package, got {name}; use {FLAG}=my_package")
    _added.update(set(own) - set(ALLOWED))
    trusted = [name for name in _added if is_within(name, own)]
    set_parsing_settings(  # which only ever adds
        import_path_denylist=["*", *REFUSED, *(_added - {*trusted})],
        import_path_allowlist=[*ALLOWED, *trusted],
        instantiate_subclass_spec_in_any=False,
    )
    OmegaConf.clear_resolver("oc.env")


def is_own(module: str) -> bool:
    """Whether a module belongs to a package that the user has added."""
    return is_within(module, _added)


def parts_of(text: str) -> list[str]:
    """Splits package names at commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def take_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments without `--allow PACKAGE` options, and the packages. Raises ConfigError if one names none."""
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
            raise ConfigError(f"{FLAG}: expected a package; use {FLAG}=my_package")
        allowed.append(value)
    return rest, allowed


def refusal(path: str) -> str:
    """The message for a class that may not be named, with the option that would allow it."""
    root = path.split(".")[0]
    known = root in sys.stdlib_module_names or root in {name.split(".")[0] for name in ALLOWED}
    own = path if known else root
    return f"{path} is not on the allow-list of configurations; if you trust it, add {FLAG}={own}"
