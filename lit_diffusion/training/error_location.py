"""From an exception to one line with the file and the key of the mistake."""

import errno
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from traceback import walk_tb
from typing import Any

from jsonargparse import ArgumentError
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf.errors import OmegaConfBaseException

from lit_diffusion.config import allowlist
from lit_diffusion.config.keys import find_class, flatten, is_within
from lit_diffusion.config.parser_errors import explain
from lit_diffusion.config.sources import COMMAND_LINE, ConfigSources
from lit_diffusion.data import ImageData
from lit_diffusion.errors import ConfigError, first_words
from lit_diffusion.modules import GenerativeModule
from lit_diffusion.runs.run_folder import folder_error
from lit_diffusion.training.run_options import CALLBACK_KEYS

TRAINER_SETTINGS = inspect.signature(Trainer.__init__).parameters
BASES = {"model": GenerativeModule, "data": ImageData}  # for the two settings that no class owns


def locate(
    error: Exception,
    sources: ConfigSources,
    config: dict[str, Any],
    folder: Path | None,
    known: Sequence[str],
    building: bool = False,
) -> Exception:
    """A ConfigError with file and key for a user's mistake; the error itself for any other.

    config: the configuration, as far as it was parsed. folder: of the run. known: the keys that exist. building:
    whether objects were being built from settings, which are then to blame unless the class is from one of the user's
    packages.
    """
    if isinstance(error, ArgumentError):
        key, problem = explain(error, BASES, [*sources.keys(), *known])
        return at(sources, key, problem)
    if isinstance(error, OmegaConfBaseException):
        return unresolved(error, sources)
    mistake = find_mistake(error) or refused_by_lightning(error, sources)
    if isinstance(error, OSError) and folder and mistake is None:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        mistake = folder_error(error, folder) if full or str(folder) in str(error.filename) else None
    if mistake is None and building:
        mistake = refused_settings(error)
    if mistake is None:
        return error
    key, message = mistake.key or key_of(mistake, config, CALLBACK_KEYS), str(mistake)
    setting, colon, rest = message.partition(": ")
    if colon and key is None and setting in config.get("data", {}).get("init_args", {}):
        key = "data"  # an error sent by a worker process has no frames
    if colon and key and f"{key}.{setting}" in flatten(config):
        key, message = f"{key}.{setting}", rest
    return at(sources, key, message) if key else mistake


def unresolved(error: OmegaConfBaseException, sources: ConfigSources) -> ConfigError:
    """What is wrong with a reference ${...}."""
    problem = str(error).splitlines()[0]
    if "oc.env" in problem:
        place = sources.containing("oc.env")
        return ConfigError(f"{place}: configurations cannot read environment variables; use --KEY=$NAME in a shell")
    name = re.search(r"'([^']+)'", problem)
    place = sources.containing(name[1] if name else "${")
    return ConfigError(f"{place}: {problem}; fix the ${{...}}")


def refused_by_lightning(error: BaseException, sources: ConfigSources) -> ConfigError | None:
    """What Lightning itself refuses, at the start of a fit or later; None for an error that it did not mean to raise.

    The setting to blame is the first of the trainer's that the message names and the user has set.
    """
    *_, last = [None, *(frame for frame, _ in walk_tb(error.__traceback__))]
    raised_there = last is not None and is_within(last.f_globals.get("__name__", ""), ["lightning"])
    if not isinstance(error, MisconfigurationException) and not (
        raised_there and isinstance(error, ValueError | RuntimeError | TypeError)
    ):
        return None
    keys = [f"trainer.{name}" for name in re.findall(r"\b(\w+)(?==|`)", str(error)) if name in TRAINER_SETTINGS]
    keys = [key for key in keys if sources.setting(key)]
    watches = last is not None and isinstance(last.f_locals.get("self"), Callback)
    if not keys and watches and sources.setting("trainer.callbacks"):
        keys = ["trainer.callbacks"]
    message = re.sub(r"<(?:\w+\.)*(\w+) object at 0x\w+>", r"\1", str(error))
    return ConfigError(message, key=keys[0] if keys else "trainer")


def refused_settings(error: Exception) -> ConfigError | None:
    """The error of a class that refuses its settings; None if the class is from one of the user's packages."""
    inner: BaseException = error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    frames = [frame for frame, _ in walk_tb(inner.__traceback__)]
    if any(allowlist.is_own(frame.f_globals.get("__name__", "")) for frame in frames):
        return None
    mistake = ConfigError(f"could not be built from these settings: {first_words(inner)}")
    return mistake.with_traceback(inner.__traceback__)


def at(sources: ConfigSources, key: str | None, message: str) -> ConfigError:
    """`where: key: message`."""
    return ConfigError(f"{sources.of(key)}: {key}: {message}" if key else f"{COMMAND_LINE}: {message}")


def find_mistake(error: BaseException | None) -> ConfigError | None:
    """The ConfigError that an error is, or was raised from."""
    while error is not None and not isinstance(error, ConfigError):
        error = error.__cause__
    return error


def key_of(error: BaseException, config: dict[str, Any], keys: dict[str, str]) -> str | None:
    """The dotted key of the object that raised an error: the innermost that the configuration names."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__) if "self" in frame.f_locals]
    for frame in reversed(frames):
        name = type(frame.f_locals["self"]).__name__
        key = keys.get(name) or find_class(config, name)
        if key:
            return key
    return None
