"""`lightning fit --help` and `--KEY.help [CLASS]`: the tree of settings, or a part: types, defaults, meanings."""

import inspect
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from docstring_parser import parse
from lightning.pytorch import Trainer

from lit_diffusion.callbacks import Prediction
from lit_diffusion.config.class_choices import classes_of, given_to, hints_of, parameters_of
from lit_diffusion.config.keys import PACKAGE, is_within
from lit_diffusion.config.suggestions import suggestion
from lit_diffusion.data import ImageData
from lit_diffusion.errors import ConfigError
from lit_diffusion.modules import GenerativeModule
from lit_diffusion.training.run_options import CALLBACKS, TRAINER_DEFAULTS

WIDTH = 110
HEAD = """usage: lightning {command} -c CONFIG [-c OVERLAY ...] [--KEY=VALUE ...]

Every setting by its key, with type, default and meaning. A class is chosen by its name; its settings follow its key:
  lightning {command} -c configs/digits.yaml --model.sampler=DDIMSampler --model.sampler.steps=50
--KEY.help shows a part of this text, as --model.reverse.help or --data.help CIFAR10 do. --print_config shows the values
that the files and options of a command give, and runs nothing. --allow=my_package lets settings name your own classes.
"""
PLAIN: Mapping[str, tuple[Any, Any, str]] = {  # settings that no class has: type, default, meaning
    "seed_everything": (int, 0, "The seed of all random draws, 0 to 4294967295."),
    "ckpt_path": (str | None, None, "The checkpoint to load: last, best or a file. A fit resumes from it."),
    "run.dir": (str, "runs", "The folder in which run folders are created."),
    "run.name": (str | None, None, "The name of the run's folder; null for the names of the files and the time."),
}
ROOTS = {"model": GenerativeModule, "data": ImageData, "prediction": Prediction}
TYPES = {int: "whole number", float: "number", bool: "true or false", str: "text", type(None): "null"}
SIMPLE = [*TYPES]
SEQUENCES = ("list", "Sequence", "Iterable", "tuple")


@dataclass(frozen=True)
class HelpLine:
    """A line of the tree. path: the keys and classes that it is within, such as ("data", "data=Digits")."""

    path: tuple[str, ...]
    text: str


def wanted(arguments: Sequence[str]) -> tuple[str, str | None] | None:
    """The key whose help a command line asks for, "" for the whole tree, and the class; None if it asks for none."""
    for argument, following in zip(arguments, [*arguments[1:], ""]):
        flag, _, name = argument.partition("=")
        if flag in ("-h", "--help"):
            return "", None
        if flag.startswith("--") and flag.endswith(".help"):
            name = name or ("" if following.startswith("-") else following)
            return flag.removeprefix("--").removesuffix(".help"), name or None
    return None


def show(arguments: Sequence[str]) -> bool:
    """Prints the help that a command line asks for; whether it asks for any. That of a class by its import path is the
    parser's own.
    """
    asked = wanted(arguments)
    if asked is None or "." in (asked[1] or ""):
        return False
    print(help_text(arguments[0], *asked))
    return True


def help_text(command: str, key: str = "", name: str | None = None) -> str:
    """The tree of settings, or the part below a key, or of one class there.

    Raises ConfigError if the key or the class does not exist.
    """
    lines = [*tree(key, name)]
    if not key:
        return "\n".join([HEAD.format(command=command), *(line.text for line in lines)])
    within = f"{key}={name}" if name else key
    part = [line.text for line in lines if within in line.path]
    if not part:
        known = {one for line in lines for one in line.path}
        names = sorted(one.partition("=")[2] for one in known if one.startswith(f"{key}="))
        if name and names:
            raise ConfigError(f"command line: {key}: no class {name}; {suggestion(name, names)}")
        keys = sorted(one for one in known if "=" not in one)
        raise ConfigError(f"command line: {key}: no such setting; {suggestion(key, keys)}")
    return textwrap.dedent("\n".join(part))


def tree(key: str = "", name: str | None = None) -> Iterator[HelpLine]:
    """All settings; of classes that are not ours the names alone, except that of `name`. Of classes that several
    settings accept, the settings are listed once: below `key`, if one is given.
    """
    seen: dict[type, str] = {}

    def setting(key_: str, hint: Any, default: str, meaning: str, path: tuple[str, ...]) -> Iterator[HelpLine]:
        path = (*path, key_)
        indent = "  " * (len(path) - 1)
        listed = [cls for cls in classes_of(hint) if is_listed(cls, key_)]
        new = [cls for cls in listed if cls not in seen]
        elsewhere = f"; settings as at {seen[listed[0]]}" if listed and not new else ""
        if not key or is_within(key_, [key]):
            seen.update(dict.fromkeys(new, key_))
        line = f"{key_}: {type_text(hint)}; {default}{elsewhere}"
        for text in textwrap.wrap(line, WIDTH, initial_indent=indent, subsequent_indent=indent + "    "):
            yield HelpLine(path, text)
        yield from paragraphs(path, indent + "    ", meaning)
        for cls in new:
            if not any(one.endswith(f"={cls.__name__}") for one in path):  # a class may contain others of its kind
                yield from settings_of(key_, cls, given_to(hint), (*path, f"{key_}={cls.__name__}"))

    def is_listed(cls: type, key_: str) -> bool:
        return is_within(cls.__module__, [PACKAGE]) or (key_ == key and cls.__name__ == name)

    def settings_of(key_: str, cls: type, given: int, path: tuple[str, ...]) -> Iterator[HelpLine]:
        indent = "  " * (len(path) - 1)
        yield HelpLine(path, f"{indent}{cls.__name__}")
        documented = parse(inspect.getattr_static(cls, "__init__").__doc__ or cls.__doc__ or "")
        ours = is_within(cls.__module__, [PACKAGE])
        meanings = {} if ours else {one.arg_name: one.description or "" for one in documented.params}
        summary = inspect.cleandoc(cls.__doc__ or "") if ours else documented.short_description or ""
        yield from paragraphs(path, indent + "    ", summary)
        hints = hints_of(cls)
        for name_, parameter in parameters_of(cls, given).items():
            below, default = f"{key_}.{name_}", parameter.default
            if cls is Trainer:
                default = TRAINER_DEFAULTS.get(name_, default)
            yield from setting(below, hints.get(name_, Any), default_text(default), meanings.get(name_, ""), path)

    for plain, (hint, default, meaning) in PLAIN.items():
        yield from setting(plain, hint, default_text(default), meaning, ())
    for root, base in ROOTS.items():
        default = "default Samples" if base is Prediction else "required"
        yield from setting(root, base, default, inspect.cleandoc(base.__doc__ or ""), ())
    for root, cls in {**CALLBACKS, "trainer": Trainer}.items():
        yield from settings_of(root, cls, 0, (root,))


def paragraphs(path: tuple[str, ...], indent: str, text: str) -> Iterator[HelpLine]:
    """A docstring, wrapped; its equations and lists keep their lines."""
    for paragraph in text.split("\n\n") if text else ():
        if paragraph.startswith(">>>"):
            continue
        kept = any(line.startswith(" ") for line in paragraph.splitlines())
        lines = paragraph.splitlines() if kept else textwrap.wrap(paragraph, max(WIDTH - len(indent), 50))
        yield from (HelpLine(path, indent + line) for line in lines)


def type_text(hint: Any) -> str:
    """The values that a setting takes, in words.

    >>> type_text(int | list[float] | None)
    'whole number or list of number or null'
    """
    if inspect.isclass(hint) and hint in TYPES:
        return TYPES[hint]
    origin, parts = get_origin(hint), get_args(hint)
    if names := [cls.__name__ for cls in classes_of(hint)]:
        others = [type_text(part) for part in parts if get_origin(part) is Literal or part in SIMPLE]
        return " or ".join([f"one of {', '.join(names)}" if len(names) > 1 else names[0], *others])
    if origin is Literal:
        return " or ".join(map(str, parts))
    if getattr(origin, "__name__", "") in SEQUENCES:
        return f"list of {type_text(parts[0])}"
    if parts and origin is not dict:
        return " or ".join(dict.fromkeys(map(type_text, parts)))
    return "any value" if hint is Any else getattr(origin or hint, "__name__", str(hint))


def default_text(default: Any) -> str:
    """A default as it is written in a configuration."""
    if default is inspect.Parameter.empty:
        return "required"
    words = {None: "null", True: "true", False: "false"}
    if default is None or isinstance(default, bool):
        return f"default {words[default]}"
    if inspect.isclass(default) or not isinstance(default, int | float | str | list | tuple | dict):
        return f"default {getattr(default, '__name__', type(default).__name__)}"
    return f"default {list(default) if isinstance(default, tuple) else default}"
