"""The parser's nested messages in one line: which key, what is wrong, what to do."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jsonargparse import ArgumentError

from lit_diffusion.config import allowlist
from lit_diffusion.config.class_choices import classes_of, hints_of, import_object, is_exported, parameters_of
from lit_diffusion.config.keys import last_part, normalize_key, shorten_class
from lit_diffusion.config.suggestions import nearest, nearest_keys, suggestion
from lit_diffusion.config.untrusted_yaml import hint

STRUCTURE = re.compile(
    r"Does not validate|Subtypes:|Errors:|Given value|Expected a path but|Expected a <class 'NoneType'>|$"
)
EXAMPLES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "Sequence": "a list such as [1, 2]",
    "Iterable": "a list such as [1, 2]",
    "list": "a list such as [1, 2]",
    "dict": "a mapping such as {0: 2}",
}
NUMBERS = {"int", "float"}
OFFERED = {"trainer.precision": ["32-true", "16-mixed", "bf16-mixed"]}  # the others are refused, or old names


def explain(error: ArgumentError, bases: Mapping[str, type], known: Sequence[str]) -> tuple[str | None, str]:
    """The dotted key, if the message names one, and one line on what is wrong and what to do.

    bases: the base classes of the settings that no class owns, `model` and `data`. known: the keys that exist.
    """
    text = str(error).removeprefix("argument ").strip()
    if unknown := re.search(r"unrecognized arguments: (?:-- )?(\S+)", text, re.IGNORECASE):
        return unknown_option(unknown[1], known)
    if unknown := re.search(r"Subcommand '\w+' does not accept option '([^']+)'", text):
        return unknown[1], f"no such setting; {other_keys(unknown[1], known)}"
    if valueless := re.match(r"(?:\S+/)?--(\S+): expected one argument", text):
        return valueless[1], f"expected a value, got none; use --{valueless[1]}=VALUE"
    if whole := re.match(r'Parser key "([^"]+)":\s*Unable to load config (.*)', text):
        value = whole[2].strip("'")
        instead = f"expected settings below it, got {value}; use {as_options(below(whole[1], known))}"
        return whole[1], hint(value) or instead
    keys, owner, problems, given = descend(text)
    key = ".".join(keys) or None
    if denied := re.search(r"Importing '([^']+)' is not allowed", "\n".join(problems)):
        return key, allowlist.refusal(denied[1])
    if several := re.search(r"Multiple subclasses with name (\w+).*? ambiguity: (.*?)\.?$", "\n".join(problems), re.M):
        paths = several[2].split(", ")
        offered = [path for path in paths if (cls := import_object(path)) and is_exported(cls, by_module=True)]
        return key, f"expected an import path, as several classes are named {several[1]}; use {(offered or paths)[0]}"
    found = re.search(r"(?:Got|Given) value: ?(.*?)(?:\. Got value:.*)?$", text, re.MULTILINE)
    value = re.sub(r"NestedArg\(.*val='?(.*?)'?\)$", r"\1", found[1]) if found else "this"
    value = re.sub(r"\[?Namespace\(class_path='([^']+)'.*", lambda path: shorten_class(path[1]), value) or "nothing"
    names = choices_of(owner, keys[-1] if keys else "", bases, text, value)
    if foreign := re.search(r"does not correspond to a subclass of (\w+)", text):
        return key, f"expected a subclass of {foreign[1]}, got {value}; {suggestion(value, names)}"
    if abstract := re.search(r"Expected an instantiatable class, but ([\w.]+) is abstract", "\n".join(problems)):
        kinds = [cls.__name__ for cls in classes_of(import_object(abstract[1]))]
        return key, f"expected a class besides its settings, got none; use --{key}={kinds[0] if kinds else 'CLASS'}"
    if key and (problem := problem_of_class(key, owner, problems, known, given)):
        return problem
    types = [found[1].rsplit(".")[-1] for p in problems if (found := re.match(r"Expected an? <class '([^']+)'>", p))]
    unknown = re.search(r"^Expected a dot import path string: (\S+)$", "\n".join(problems), re.MULTILINE)
    if unknown and not NUMBERS.intersection(types):
        return key, f"no class {unknown[1]}; {suggestion(unknown[1], names)}"
    literals = re.findall(r"'([^']+)'", " ".join(re.findall(r"Expected a typing.Literal\[(.*?)\]", " ".join(problems))))
    if literals:
        return key, f"expected one of {', '.join(OFFERED.get(key or '', literals))}; got {value}"
    if types:
        expected = dict.fromkeys(EXAMPLES.get(name, f"a {name}") for name in types)
        return key, f"expected {' or '.join(expected)}, got {value}"
    if listed := re.search(r"'(\w+)' object has no attribute 'keys'", text):
        return key, f"expected init_args with settings by name, got a {listed[1]}; write NAME: VALUE lines"
    return key, re.sub(r"\s+", " ", problems[0]) if problems else "not accepted"


def unknown_option(argument: str, known: Sequence[str]) -> tuple[str | None, str]:
    """What to write instead of an argument of the command line that is none of its options."""
    name, equals, value = argument.partition("=")
    option = name.lstrip("-")
    if name == option:
        if option in known and equals:
            return None, f"expected an option, got {argument}; use --{argument}"
        flag = f"-c {argument}" if argument.endswith((".yaml", ".yml")) else "--KEY=VALUE"
        return None, f"expected an option, got {argument}; use {flag}"
    return option, f"no such option; {other_keys(option, known, as_options)}"


def as_options(keys: Sequence[str]) -> str:
    """Keys as options of a command line."""
    return " or ".join(f"--{key}" for key in keys)


def other_keys(key: str, known: Sequence[str], spell: Callable[[Sequence[str]], str] = " or ".join) -> str:
    """What to use instead of an unknown key."""
    keys = below(key, known) or nearest_keys(key, known)
    return f"use {spell(keys)}" if keys else "`--help` lists all"


def below(key: str, known: Sequence[str]) -> list[str]:
    """The first three known keys within a key."""
    return [other for other in dict.fromkeys(known) if other.startswith(f"{key}.")][:3]


def problem_of_class(
    key: str, owner: type | None, problems: list[str], known: Sequence[str], given: int
) -> tuple[str, str] | None:
    """What is wrong with the settings of the class at a key: one that does not exist, or one that is missing.

    given: how many arguments of the class are not settings.
    """
    for problem in problems:
        if unknown := re.match(r"(?:Option|Key|Group) '([^']+)' is not accepted", problem):
            name = unknown[1].partition(".")[0]
            siblings = [*parameters_of(owner, given)]
            others = [other for other in known if normalize_key(other) != f"{key}.{name}"]
            elsewhere = [other for other in nearest_keys(name, others) if last_part(other) == name]
            instead = f"use {' or '.join(elsewhere)}" if elsewhere else suggestion(name, siblings)
            return f"{key}.{name}", f"no such setting; {instead}"
        if missing := re.match(r"the following arguments are required: ([\w, ]+)", problem):
            first = missing[1].split(",")[0]
            name = owner.__name__ if owner else "it"
            return f"{key}.{first}", f"expected a value, which {name} needs, got none; use --{key}.{first}=VALUE"
    return None


def descend(text: str) -> tuple[list[str], type | None, list[str], int]:
    """Follows the nesting of a message: the keys passed, the class that owns the last one, the innermost problems, and
    how many arguments of the class are not settings.

    The parser tries all types of a setting. The first class that it names is the user's; what it says of other types,
    among them the base class, is left out.
    """
    keys: list[str] = []
    owner: type | None = None
    problems: list[str] = []
    given, named = 0, len(text)  # named: how far the line with the first class is indented
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent <= named < len(text):
            break
        line = line.strip().removeprefix("- ").strip()
        factory = re.match(r"Type .*?\[\[(.*?)\], .*? expects a function or a callable class: (.*)", line)
        if factory:
            # the value's own class is named first or, if its settings come from another file, last
            class_path = re.search(r"Namespace\(class_path='([^']+)'|class_path='([^']+)'\)$", line)
            owner = import_object(class_path[1] or class_path[2]) if class_path else owner
            given, line = factory[1].count(",") + 1, factory[2]
        nested = re.match(r'Parser key "([^"]+)":\s*(.*)', line)
        within = re.match(r"Problem with given class_path '([^']+)':\s*(.*)", line)
        if nested:
            keys += nested[1].split(".")
            line = nested[2]
        elif within:
            owner, line, given = import_object(within[1]), within[2], 0
            named = min(named, indent)
        if not STRUCTURE.match(line):
            problems.append(line)
    return keys, owner, problems, given


def choices_of(owner: type | None, setting: str, bases: Mapping[str, type], text: str, value: str) -> list[str]:
    """The names of the classes that a setting accepts, of ours if there are some, unless only another is like `value`.

    bases: for `model` and `data`. text: the parser's message, which names the base class of a setting of the trainer.
    """
    if owner is None:
        paths = re.findall(r"<class '([\w.]+)'>", (re.search(r"Subtypes: (.*)", text) or [""])[0])
        hints: list[Any] = [bases[setting]] if setting in bases else [*map(import_object, paths)]
    else:
        hints = [hints_of(owner).get(setting)]
    ours, others = ([cls.__name__ for hint in hints for cls in classes_of(hint, every)] for every in (False, True))
    return ours if nearest(value, ours) or not nearest(value, others) else others
