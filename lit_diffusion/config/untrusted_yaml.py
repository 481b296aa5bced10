"""YAML from anybody: plain values only, no duplicate keys, limited in size and depth."""

import re
from pathlib import Path
from typing import Any

import yaml

from lit_diffusion.config.keys import walk
from lit_diffusion.errors import ConfigError, one_line

LARGEST = 2**20  # bytes of a file
MOST = 10_000  # values in a file; an alias counts as everything it stands for
DEEPEST = 50  # levels of nesting


class Loader(yaml.SafeLoader):
    """PyYAML's loader keeps the last of two equal keys; this one refuses them, as the YAML standard does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"duplicate key {key.value}", problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(path: Path) -> Any:
    """A file's content. Raises ConfigError if it is not valid YAML, names Python objects, or is too large or deep."""
    text = ""
    try:
        if not path.is_file():
            raise ConfigError(f"{path}: expected a regular file")
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path} is larger than {LARGEST // 2**20} MiB; shorten it")
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = hint(text) or f"not valid YAML: {one_line(error.problem)}; fix the line"
        raise ConfigError(f"{path}{place}: {problem}") from error
    except ConfigError:
        raise
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected a YAML file, which is text; got other bytes; use another file") from error
    except Exception as error:  # PyYAML also lets through errors of numbers and dates
        raise ConfigError(f"{path}: not readable as YAML: {one_line(error)}") from error
    _check_size(content, path)
    return content


def hint(text: str) -> str | None:
    """What to write instead of the first line with a tab or an equals sign where YAML has none; None without one."""
    for line in text.splitlines():
        if re.match(r" *\t", line):
            return "expected spaces at the start of the line, got a tab; indent with spaces"
        if assignment := re.match(r"\s*([\w.]+)\s*=\s*(.*)", line):
            return f"expected `key: value`, got `{one_line(line)}`; write `{assignment[1]}: {one_line(assignment[2])}`"
    return None


def _check_size(content: Any, path: Path) -> None:
    """Aliases let a short file expand to a huge one."""
    for count, (_, level) in enumerate(walk(content), 1):
        if count > MOST:
            raise ConfigError(f"{path} expands to more than {MOST:,} values; shorten it")
        if level > DEEPEST:
            raise ConfigError(f"{path} is nested more than {DEEPEST} levels deep; flatten it")
