"""What a call at a Python prompt leaves as it was, and how it says what is wrong."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from lightning.pytorch.utilities.seed import isolate_rng

from lit_diffusion.api.argument_types import check_types
from lit_diffusion.config.allowlist import FLAG
from lit_diffusion.config.sources import COMMAND_LINE
from lit_diffusion.errors import ConfigError, check_at_least

SEED = "PL_GLOBAL_SEED"  # where Lightning leaves the seed of a run for all of its processes
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def one_line_errors(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Of a mistake, only the ConfigError reaches the prompt, with the key to blame, not what led to it. An argument of
    another type than its annotation is one.
    """

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            check_types(function, args, kwargs)
            return function(*args, **kwargs)
        except ConfigError as error:
            text = str(error).removeprefix(f"{COMMAND_LINE}: ")
            named = not error.key or text.startswith(error.key) or f" {error.key}:" in text
            raise ConfigError(text if named else f"{error.key}: {text}", error.key) from None

    return call


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Inside, the seed of the run is `seed`, if one is given; afterwards the seed and all global generators are what
    they were before.
    """
    check_at_least(0, seed=seed)
    before = os.environ.get(SEED)
    if seed is not None:
        os.environ[SEED] = str(seed)
    try:
        with isolate_rng():
            yield
    finally:
        os.environ.pop(SEED, None)
        if before is not None:
            os.environ[SEED] = before


def as_arguments(settings: Mapping[str, Any], allow: Sequence[str] = ()) -> list[str]:
    """Settings as options of the command line; two underscores stand for a dot.

    >>> as_arguments({"trainer__max_steps": 10, "model.reverse.variance": "LearnedRange"}, ["my_package"])
    ['--trainer.max_steps=10', '--model.reverse.variance=LearnedRange', '--allow=my_package']
    """
    options = [f"--{key.replace('__', '.')}={as_text(value)}" for key, value in settings.items()]
    return [*options, *(f"{FLAG}={package}" for package in allow)]


def as_text(value: Any) -> str:
    """A value as YAML on one line. Raises ConfigError for objects.

    >>> as_text(None), as_text([1, 2.5]), as_text("digits")
    ('null', '[1, 2.5]', 'digits')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    try:
        return json.dumps(value)
    except TypeError:
        raise ConfigError(
            f"expected plain values such as numbers, texts, lists and dictionaries, got {type(value).__name__}; name a "
            "class as the command line does"
        ) from None
