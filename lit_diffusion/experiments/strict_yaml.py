"""YAML files in which no key stands twice."""

from pathlib import Path
from typing import Any

import yaml

from lit_diffusion.errors import ConfigError


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
    """What a file holds. Raises ConfigError where it is no YAML."""
    try:
        return yaml.load(path.read_text(), Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{place}: no valid YAML, {error.problem}; mend the line") from error
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not readable as YAML, {error}".replace("\n", " ")) from error
