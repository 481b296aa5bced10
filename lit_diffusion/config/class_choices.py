"""Which classes a setting accepts, and which settings a class has."""

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any, get_args, get_origin, get_type_hints

from lit_diffusion.config.keys import PACKAGE, is_within

# Callbacks of Lightning's that a run cannot use, or whose work it does itself, and the settings to use instead.
USE_INSTEAD = {
    **dict.fromkeys(("Checkpoint", "ModelCheckpoint", "OnExceptionCheckpoint"), "checkpoint.every_n_steps"),
    **dict.fromkeys(("WeightAveraging", "EMAWeightAveraging"), "ema.decay"),
    **dict.fromkeys(("ProgressBar", "RichProgressBar", "TQDMProgressBar"), "trainer.enable_progress_bar"),
    "BatchSizeFinder": "data.batch_size",
    "LearningRateFinder": "model.optimizer.lr",
}
OFFERED = ("TensorBoard",)  # of our callbacks and loggers, the others of which every run has


def import_object(path: str) -> type | None:
    """The class at an import path, or None."""
    module, _, name = path.rpartition(".")
    return getattr(sys.modules.get(module), name, None)  # the parser has imported it


def parameters_of(owner: type | None, given: int = 0) -> dict[str, inspect.Parameter]:
    """The settings of a class: its parameters, without the first ones that are `given` to it."""
    named = inspect.signature(owner).parameters if owner else {}
    kept = {name: one for name, one in named.items() if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
    return dict([*kept.items()][given:])


def hints_of(owner: type) -> dict[str, Any]:
    """The types of the settings of a class; of a class without type hints none."""
    try:
        hints = get_type_hints(inspect.getattr_static(owner, "__init__"))
    except (NameError, TypeError, AttributeError):
        return {}
    for name in ("self", "return"):  # `self` is annotated at run time by some libraries
        hints.pop(name, None)
    return hints


def classes_of(hint: Any, every: bool = False) -> list[type]:
    """The classes that a setting of this type accepts, by name: for `Callable[..., C]` those of C.

    Only those that their packages export, and without `every` only ours, if there are some. For a type of Lightning's,
    none of ours, as every run has those, and none of USE_INSTEAD.
    """
    if get_origin(hint) is Callable:
        arguments, result = get_args(hint)
        return [cls for cls in classes_of(result, every) if _takes(cls, arguments)]
    if not inspect.isclass(hint) or get_origin(hint):
        return list(dict.fromkeys(cls for part in get_args(hint) for cls in classes_of(part, every)))
    if hint.__module__ in ("builtins", "torch"):
        return []
    found = [cls for cls in _descendants(hint) if is_exported(cls, by_module=every)]
    ours = [cls for cls in found if is_within(cls.__module__, [PACKAGE])]
    if is_within(hint.__module__, ["lightning"]):
        known = (*ours, *USE_INSTEAD)
        ours = [cls for cls in found if cls.__name__ in OFFERED or not (cls in known or cls.__name__ in known)]
    elif every or not ours:
        ours = found
    return sorted(set(ours), key=lambda cls: cls.__name__)


def given_to(hint: Any) -> int:
    """How many arguments a class of this type is called with besides its settings."""
    if get_origin(hint) is Callable:
        return len(get_args(hint)[0])
    return max(map(given_to, get_args(hint)), default=0)


def _takes(cls: type, arguments: Sequence[Any]) -> bool:
    """Whether a class can be called with arguments of these types before its settings."""
    hints = hints_of(cls)
    first = [hints.get(name) for name in [*parameters_of(cls)][: len(arguments)]]
    sizes = any(one is int or get_origin(one) is tuple for one in arguments)  # of channels or shapes, as networks get
    return not sizes or first == [*arguments]


def is_exported(cls: type, by_module: bool = False) -> bool:
    """Whether the package of a class offers it, or its module; parts of networks, for example, are not offered."""
    package, module = (sys.modules.get(name) for name in (cls.__module__.rpartition(".")[0], cls.__module__))
    listed = by_module and cls.__name__ in getattr(module, "__all__", ())
    return listed or getattr(package, cls.__name__, None) is cls


def _descendants(base: type) -> list[type]:
    """The concrete classes below `base`, and `base` itself if it is ours."""
    children: list[type] = type.__subclasses__(base)
    own = [base] if is_within(base.__module__, [PACKAGE]) and not any(is_exported(child) for child in children) else []
    below = [c for child in children for c in (child, *_descendants(child))]
    return [c for c in [*own, *below] if not inspect.isabstract(c)]
