"""The parser's nested messages in one line: which key, what is wrong, what to do."""

import difflib
import inspect
import re
import sys
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from jsonargparse import ArgumentError

from lit_diffusion.config import allowlist

STRUCTURE = re.compile(
    r"Does not validate|Subtypes:|Errors:|Given value|Expected a path but|Expected a <class 'NoneType'>|$"
)
EXAMPLES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "Sequence": "a list such as [1, 2]",
    "list": "a list such as [1, 2]",
}
NUMBERS = {"int", "float", "bool"}
FEW = 12  # names that one line can hold


def explain(error: ArgumentError, bases: Mapping[str, type]) -> tuple[str | None, str]:
    """The dotted key, if the message names one, and one line on what is wrong and what to do.

    bases: the base classes of the settings that no class owns, `model` and `data`.
    """
    text = str(error).removeprefix("argument ").strip()
    unrecognized = re.search(r"unrecognized arguments: (\S+)", text, re.IGNORECASE)
    if unrecognized:
        option = unrecognized[1].partition("=")[0].lstrip("-")
        return option, "no such option; see `lightning fit --help`"
    not_accepted = re.search(r"Subcommand '\w+' does not accept option '([^']+)'", text)
    if not_accepted:
        return not_accepted[1], "no such setting; see `lightning fit --help`"
    missing = re.search(r"arguments are required: (.*)", text)
    if missing and re.search(r"\b(model|data)(,|$)", missing[1]):
        return None, "model and data are missing; pass a complete file, such as -c configs/digits.yaml"
    keys, owner, problems = descend(text)
    key = ".".join(keys) or None
    denied = re.search(r"Importing '([^']+)' is not allowed", text)
    if denied:
        return key, allowlist.refusal(denied[1])
    found = re.search(r"(?:Got|Given) value: (.*?)(?:\. Got value:.*)?$", text, re.MULTILINE)
    value = re.sub(r"NestedArg\(.*val='?(.*?)'?\)$", r"\1", found[1]) if found else "this"
    foreign = re.search(r"does not correspond to a subclass of (\w+)", text)
    if foreign:
        names = choices_of(owner, keys[-1] if keys else "", bases)
        return key, f"expected a subclass of {foreign[1]}, got {value}; {suggestion(value, names)}"
    types = [found[1].rsplit(".")[-1] for p in problems if (found := re.match(r"Expected an? <class '([^']+)'>", p))]
    for problem in problems if not NUMBERS.intersection(types) else ():
        unknown_class = re.match(r"Expected a dot import path string: (\S+)", problem)
        if unknown_class:
            names = choices_of(owner, keys[-1] if keys else "", bases)
            return key, f"no class {unknown_class[1]}; {suggestion(unknown_class[1], names)}"
        unknown_setting = re.match(r"(?:Option|Key|Group) '([^']+)' is not accepted", problem)
        if unknown_setting:
            name = unknown_setting[1]
            return ".".join([*keys, name]), f"no such setting; {suggestion(name, parameters_of(owner))}"
    literals = re.findall(r"'([^']+)'", " ".join(re.findall(r"Expected a typing.Literal\[(.*?)\]", " ".join(problems))))
    if literals:
        return key, f"expected one of {', '.join(literals)}; got {value}"
    if types:
        return key, f"expected {' or '.join(EXAMPLES.get(name, 'a ' + name) for name in types)}, got {value}"
    return key, re.sub(r"\s+", " ", problems[0]) if problems else "not accepted"


def descend(text: str) -> tuple[list[str], type | None, list[str]]:
    """Follows the nesting of a message: the keys passed, the class that owns the last one, the innermost problems."""
    keys: list[str] = []
    owner: type | None = None
    problems: list[str] = []
    for line in text.splitlines():
        line = line.strip().removeprefix("- ").strip()
        factory = re.match(r"Type .*? expects a function or a callable class: (.*)", line)
        if factory:
            line, class_path = factory[1], re.search(r"Namespace\(class_path='([^']+)'", text)
            owner = import_object(class_path[1]) if class_path else owner
        nested = re.match(r'Parser key "([^"]+)":\s*(.*)', line)
        within = re.match(r"Problem with given class_path '([^']+)':\s*(.*)", line)
        if nested:
            keys += nested[1].split(".")
            line = nested[2]
        elif within:
            owner, line = import_object(within[1]), within[2]
        if not STRUCTURE.match(line):
            problems.append(line)
    return keys, owner, problems


def import_object(path: str) -> type | None:
    """The class at an import path, or None."""
    module, _, name = path.rpartition(".")
    return getattr(sys.modules.get(module), name, None)  # the parser has imported it


def suggestion(name: str, known: list[str]) -> str:
    """What to use instead of `name`: the nearest of the known names, and the others if they are few."""
    near = difflib.get_close_matches(name, known, n=1)
    others = [other for other in known if other not in near]
    if near:
        return f"use {near[0]}" + (f" (or {', '.join(others)})" if 0 < len(others) <= FEW else "")
    return f"use one of {', '.join(known)}" if known else "use the name or import path of an existing one"


def parameters_of(owner: type | None) -> list[str]:
    """The settings of a class."""
    return [] if owner is None else [name for name in inspect.signature(owner).parameters if name != "kwargs"]


def choices_of(owner: type | None, setting: str, bases: Mapping[str, type]) -> list[str]:
    """The names of our classes that a setting accepts; bases: for `model` and `data`."""
    if owner is None:
        hint: Any = bases.get(setting)
    else:
        hint = get_type_hints(inspect.getattr_static(owner, "__init__")).get(setting)
    kinds = [base for base in (get_args(hint) or (hint,)) if inspect.isclass(base) and base is not type(None)]
    return sorted({c.__name__ for base in kinds for c in descendants(base) if c.__module__.startswith("lit_diffusion")})


def descendants(base: type) -> list[type]:
    """The concrete classes below `base`."""
    children: list[type] = type.__subclasses__(base)
    return [c for child in children for c in (child, *descendants(child)) if not inspect.isabstract(c)]
