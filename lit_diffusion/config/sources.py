"""Configuration files and the command line: where each setting comes from, for error messages."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_diffusion.config import allowlist
from lit_diffusion.config.config_files import BASE, CLASSES, MOST_REFERENCES, base_of, find, names_class, read
from lit_diffusion.config.keys import count_set_parts, count_shared_parts, flatten, is_within, last_part, option_key
from lit_diffusion.config.suggestions import nearest
from lit_diffusion.errors import ConfigError

COMMAND_LINE = "command line"
FILE_FLAGS = ("-c", "--config")


@dataclass
class ConfigSource:
    """One file or option of a command line.

    sets: the settings of a file, or the key of an option. arguments: as they are passed on.
    """

    name: str
    sets: Any
    arguments: list[str]

    def count_parts(self, key: str) -> int:
        """How many parts of a dotted key it sets."""
        if isinstance(self.sets, str):
            return count_shared_parts(self.sets, key)
        return count_set_parts(self.sets, key.split("."))

    def names_class(self, key: str) -> bool:
        """Whether it says which class is at a key."""
        if isinstance(self.sets, str):
            return self.sets in (key, f"{key}.class_path")
        return names_class(self.sets, key)


class ConfigSources:
    """The `-c` files of a command line, parsed to check their syntax and to know what they set.

    arguments: the command line with every file as an existing path, complete files first: an overlay or an option
    changes what a complete file says, wherever it stands. A missing file is looked up among those that the package
    ships, so that `-c configs/digits.yaml` works from any folder. allowed: the packages of `--allow`, which are removed
    from the arguments.

    Raises ConfigError for a file that is missing, not valid YAML, not a mapping, or includes files by a `config` key,
    and for more than MOST_REFERENCES.
    """

    def __init__(self, arguments: list[str]):
        self.files: list[Path] = []
        self._sources: list[ConfigSource] = []  # in the order in which they are applied
        arguments, self.allowed = allowlist.take_flags(arguments)
        takes_file = False
        first: list[str] = []
        for argument in arguments:
            flag, equals, value = argument.partition("=")
            if takes_file or (equals and flag in FILE_FLAGS):
                self._read(argument if takes_file else value)
            elif argument == "-h" or (flag.startswith("--") and flag not in FILE_FLAGS):
                self._sources.append(ConfigSource(COMMAND_LINE, option_key(flag.removesuffix("+")), [argument]))
            elif argument == "=":
                raise ConfigError(f"{COMMAND_LINE}: expected --KEY=VALUE, got spaces around =; omit them")
            elif argument not in FILE_FLAGS and not self._sources and first:
                raise ConfigError(f"{COMMAND_LINE}: expected an option, got {argument}; use -c {argument}")
            elif argument not in FILE_FLAGS:  # the command, or the value of the option before it
                (self._sources[-1].arguments if self._sources else first).append(argument)
            takes_file = argument in FILE_FLAGS and not takes_file
        if takes_file:
            raise ConfigError(f"{COMMAND_LINE}: -c: expected a file, got none; use -c configs/digits.yaml")
        self._sources.sort(key=lambda source: not all(map(source.names_class, CLASSES)))
        self.arguments = [*first, *(argument for source in self._sources for argument in source.arguments)]
        references = repr([self.arguments, [source.sets for source in self._sources]]).count("${")
        if references > MOST_REFERENCES:
            raise ConfigError(
                f"expected at most {MOST_REFERENCES} references ${{...}}, got {references}; write some values out"
            )

    def _read(self, name: str) -> None:
        path = find(name)
        self.files.append(path)
        self._sources.append(ConfigSource(name, read(path), ["-c", str(path)]))

    def check_complete(self, groups: Sequence[str]) -> None:
        """Raises ConfigError if no file or option says which model and data are used, as for an overlay alone, and for
        a file with none of our `groups` of settings, or a misspelt one. Help needs no file.
        """
        if any(last_part(option_key(argument)) in ("help", "-h") for argument in self.arguments):
            return
        for source in self._sources:
            _check_groups(source, groups)
        for key in CLASSES:
            if any(source.names_class(key) for source in self._sources):
                continue
            if not self.files:
                raise ConfigError(
                    f"{COMMAND_LINE}: model and data are missing; pass a complete file, such as -c {BASE}"
                )
            overlay = next((one for one in self._sources if isinstance(one.sets, dict) and key in one.sets), None)
            name = (overlay or next(one for one in self._sources if one.name != COMMAND_LINE)).name
            setting = overlay.sets[key] if overlay else {}
            if isinstance(setting, dict) and setting and "init_args" not in setting:
                raise ConfigError(
                    f"{name}: {key}: expected class_path and init_args, got {', '.join(map(str, setting))}, as of "
                    f"another project; start from a file such as {BASE}"
                )
            instead = f"use -c {base_of(name)} -c {name}"
            raise ConfigError(f"{name}: {key}: expected a complete file besides this overlay, got none; {instead}")

    @property
    def run(self) -> Path | None:
        """The folder of the run whose config.yaml is among the files, wherever it is now; None without one, or if the
        command line names another.
        """
        folders = [path.parent for path in self.files if path.name == "config.yaml"]
        runs = [folder for folder in folders if (folder / "checkpoints").is_dir()]
        return runs[-1] if runs and not self.says("run") else None

    def says(self, key: str) -> bool:
        """Whether the command line sets the key or anything below it."""
        options = [source.sets for source in self._sources if source.name == COMMAND_LINE]
        return any(is_within(option, [key]) for option in options)

    def of(self, key: str) -> str:
        """The source that decides a dotted key or anything below it: the last file or option that sets it or, if none
        does, most of its parts; of these, one that names the class there.
        """
        best, name, parts = 1.0, COMMAND_LINE, key.split(".")
        for source in self._sources:
            depth: float = source.count_parts(key)
            if 0 < depth < len(parts) and source.names_class(".".join(parts[: int(depth)])):
                depth += 0.5
            if depth >= best:
                best, name = depth, source.name
        return name

    def setting(self, key: str) -> str | None:
        """The name of the last file or option that sets the whole of a key; None if none does."""
        names = [source.name for source in self._sources if source.count_parts(key) > key.count(".")]
        return names[-1] if names else None

    def containing(self, text: str) -> str:
        """The last file or option that contains a text."""
        names = [one.name for one in self._sources if text in repr(one.sets) or text in " ".join(one.arguments)]
        return names[-1] if names else COMMAND_LINE

    def keys(self) -> list[str]:
        """The keys of all files."""
        return [key for source in self._sources if isinstance(source.sets, dict) for key in flatten(source.sets)]


def _check_groups(source: ConfigSource, groups: Sequence[str]) -> None:
    """Raises ConfigError for a file with none of the groups of settings that there are, or a misspelt one."""
    given = [] if isinstance(source.sets, str) else [str(key).partition(".")[0] for key in source.sets]
    for key in given:
        if key not in groups and (near := nearest(key, groups)):
            raise ConfigError(f"{source.name}: {key}: no such setting; use {near}")
    if given and not {*given}.intersection(groups):
        expected = f"expected settings such as {', '.join(groups[:3])}, got {', '.join(given[:3])}"
        raise ConfigError(f"{source.name}: {given[0]}: no such setting; {expected}; start from a file such as {BASE}")
