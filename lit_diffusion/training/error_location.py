"""From an exception to one line with the file and the key of the mistake."""

import errno
import re
from collections.abc import Sequence
from pathlib import Path
from traceback import walk_tb
from typing import Any

from jsonargparse import ArgumentError
from lightning.pytorch import Callback
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf.errors import OmegaConfBaseException

from lit_diffusion.config import allowlist
from lit_diffusion.config.keys import find_class, flatten, is_within, settings_at
from lit_diffusion.config.parser_errors import explain
from lit_diffusion.config.sources import COMMAND_LINE, ConfigSources
from lit_diffusion.data import ImageData
from lit_diffusion.errors import ConfigError, first_words
from lit_diffusion.modules import GenerativeModule
from lit_diffusion.runs.run_folder import folder_error
from lit_diffusion.training.run_options import CALLBACK_KEYS

BASES = {"model": GenerativeModule, "data": ImageData}  # for the two settings that no class owns


class ForeignError(ConfigError):
    """A mistake in another library's words, which may tell the setting to blame."""


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
    mistake = find_mistake(error) or refused_by_lightning(error, sources, config)
    if isinstance(error, OSError) and folder and mistake is None:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        mistake = folder_error(error, folder) if full or str(folder) in str(error.filename) else None
    if mistake is None and building:
        mistake = refused_settings(error)
    if mistake is None:
        return error
    key, message = mistake.key or key_of(mistake, config, CALLBACK_KEYS), str(mistake)
    if isinstance(mistake, ForeignError):
        key = narrow(key, message, sources, config) if key else "trainer"
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


def refused_by_lightning(error: Exception, sources: ConfigSources, config: dict[str, Any]) -> ForeignError | None:
    """What Lightning itself refuses, at the start of a fit or later, and any error of a callback of Lightning's; None
    for an error that it did not mean to raise.

    The setting to blame is the first of the trainer's that the user has set and the message names, or whose value it
    names.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    raised_there = bool(frames) and is_within(frames[-1].f_globals.get("__name__", ""), ["lightning"])
    callback = next((one for frame in frames if isinstance(one := frame.f_locals.get("self"), Callback)), None)
    theirs = is_within(type(callback).__module__, ["lightning"]) and bool(sources.setting("trainer.callbacks"))
    meant = raised_there and isinstance(error, ValueError | RuntimeError | TypeError | ImportError)
    if not (isinstance(error, MisconfigurationException) or meant or theirs):
        return None
    text = re.sub(r"<(?:\w+\.)*(\w+) object at 0x\w+>", r"\1", str(error))
    if twice := re.match(r"Found more than one stateful callback of type `(\w+)`", text):
        return ForeignError(f"expected callbacks that differ, got {twice[1]} twice; omit one", key="trainer.callbacks")
    found: dict[str, int] = {}  # where the message names a setting
    for name, value in (config.get("trainer") or {}).items():
        quoted = rf"|\b{re.escape(value)}" if isinstance(value, str) and len(value) > 2 and not theirs else ""
        named = re.search(rf"\b{name}(?==|`){quoted}", text, re.IGNORECASE)
        if named and sources.setting(f"trainer.{name}"):
            found[f"trainer.{name}"] = named.start()
    key = "trainer.callbacks" if theirs and not found else min(found, key=found.__getitem__, default=None)
    said = text if meant or isinstance(error, MisconfigurationException) else ""
    message = missing_package(error) or said or f"{type(callback).__name__} failed: {first_words(error)}"
    return ForeignError(message, key).with_traceback(error.__traceback__)


def refused_settings(error: Exception) -> ConfigError | None:
    """The error of a class that refuses its settings; None if the class is from one of the user's packages."""
    inner: BaseException = error
    while inner.__cause__ is not None:
        inner = inner.__cause__
    frames = [frame for frame, _ in walk_tb(inner.__traceback__)]
    if any(allowlist.is_own(frame.f_globals.get("__name__", "")) for frame in frames):
        return None
    words = str(inner) if isinstance(inner, MisconfigurationException) else first_words(inner)
    mistake = ForeignError(missing_package(inner) or f"could not be built from these settings: {words}")
    return mistake.with_traceback(inner.__traceback__)


def missing_package(error: BaseException) -> str | None:
    """What to do about a package that another library lacks; None if that is not what its error says."""
    name = re.search(r"Requirement '([\w-]+)|pip install (?:-U )?'?([\w-]+)", str(error))
    package = name and (name[1] or name[2])
    return f"expected the package {package} to be installed; run `pip install {package}`" if package else None


def narrow(key: str, message: str, sources: ConfigSources, config: dict[str, Any]) -> str:
    """The setting below a key that the user has set and a message names or, if none, whose value it quotes; else the
    key itself.
    """
    words = [word.strip(".`'\"") for word in message.split()]
    settings = {name: value for name, value in settings_at(config, key) if sources.setting(f"{key}.{name}")}
    named = [name for name in settings if name in re.findall(r"\w+", message.lower())]
    quoted = [name for name, value in settings.items() if str(value) in words]
    return f"{key}.{[*named, *quoted][0]}" if named or quoted else key


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
