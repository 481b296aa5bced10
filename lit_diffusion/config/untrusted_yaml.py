"""YAML files of others: plain values only, no key twice, and no more than a reader can hold."""

from pathlib import Path
from typing import Any

import yaml

from lit_diffusion.config.keys import walk
from lit_diffusion.errors import ConfigError, one_line

LARGEST = 2**20  # bytes of a file
MOST = 10_000  # values in a file, where each alias counts as all that it stands for
DEEPEST = 50  # levels of nesting


class Loader(yaml.SafeLoader):
    """PyYAML's loader takes the last of two equal keys; this one refuses them, as YAML does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"{key.value} stands there twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(path: Path) -> Any:
    """What a file holds. Raises ConfigError where it is no YAML, names Python objects, or is too large or too deep."""
    try:
        if not path.is_file():
            raise ConfigError(f"{path} is no file; write one that is")
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path} has more than {LARGEST // 2**20} MiB; write a shorter file")
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{place}: no valid YAML, {one_line(error.problem)}; mend the line") from error
    except ConfigError:
        raise
    except Exception as error:  # beside its own, PyYAML lets through what making a number or a date raises
        raise ConfigError(f"{path}: not readable as YAML, {one_line(error)}") from error
    _check_size(content, path)
    return content


def _check_size(content: Any, path: Path) -> None:
    """Aliases make a short file stand for a long one: what uses it would write it out."""
    for count, (_, level) in enumerate(walk(content), 1):
        if count > MOST:
            raise ConfigError(f"{path} stands for more than {MOST:,} values; write a shorter file")
        if level > DEEPEST:
            raise ConfigError(f"{path} is nested more than {DEEPEST} levels deep; write a flatter file")
