"""Arguments of a call at a prompt against its annotations."""

import inspect
from collections.abc import Callable, Sequence
from numbers import Integral
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lit_diffusion.errors import ConfigError


def check_types(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Raises ConfigError that names the first argument whose type is not that of its annotation.

    Names that the function does not have, and missing arguments, are left to Python, which says so in one line.
    """
    signature, hints = inspect.signature(function), get_type_hints(function)
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:
        return
    for name, value in given.items():
        values = value if signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL else [value]
        wrong = [one for one in values if name in hints and not accepts(hints[name], one)]
        if wrong:
            create = f"; pass an object: {wrong[0].__name__}()" if isinstance(wrong[0], type) else ""
            raise ConfigError(f"{name}: expected {describe_type(hints[name])}, got {describe_value(wrong[0])}{create}")


def accepts(hint: Any, value: Any) -> bool:
    """Whether a value has the type of an annotation. Integers of NumPy are ints, booleans are not, and the elements of
    a sequence count.

    >>> accepts(int | None, None), accepts(int, True), accepts(Sequence[int], (1, 2)), accepts(Sequence[str], "abc")
    (True, False, True, False)
    """
    if hint is Any:
        return True
    kind, parts = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(accepts(part, value) for part in parts)
    if kind is Literal:
        return value in parts
    if kind is Sequence:
        return isinstance(value, Sequence) and not isinstance(value, str) and all(accepts(parts[0], v) for v in value)
    if hint is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    return isinstance(value, kind or hint)


def describe_type(hint: Any) -> str:
    """An annotation in words.

    >>> describe_type(Sequence[int | str] | None)
    'a list of int or str, or None'
    """
    kind, parts = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        names = [describe_type(part) for part in parts]
        return ", or ".join(names) if any(get_origin(part) is Sequence for part in parts) else " or ".join(names)
    if kind is Sequence:
        return f"a list of {describe_type(parts[0])}"
    if kind is Literal:
        return " or ".join(parts)
    return "None" if hint is NoneType else str((kind or hint).__name__)


def describe_value(value: Any) -> str:
    """A short value, the name of a class, or the type of anything else.

    >>> describe_value(1.5), describe_value(int), describe_value([1])
    ('1.5', 'the class int', 'list')
    """
    if isinstance(value, type):
        return f"the class {value.__name__}"
    is_short = isinstance(value, str | int | float | None) and len(repr(value)) < 50
    return repr(value) if is_short else type(value).__name__
