"""Configuration files and the command line: where each setting comes from, for error messages."""

import sysconfig
from pathlib import Path
from typing import Any

from lit_diffusion.config import allowlist, untrusted_yaml
from lit_diffusion.config.keys import count_set_parts, count_shared_parts, is_within, option_key
from lit_diffusion.errors import ConfigError

COMMAND_LINE = "command line"
MOST_REFERENCES = 16  # `${...}` in total: each may expand to text with others, so that a few more could fill gigabytes
VARIABLE = "LIT_DIFFUSION_CONFIG"  # names the base configuration of a sweep run by W&B's agent
# In a checkout configs/ is next to the package; a wheel installs it in the environment's share folder.
SHIPPED = (Path(__file__).parents[2], Path(sysconfig.get_path("data")) / "share" / "lit_diffusion")


class ConfigSources:
    """The `-c` files of a command line, parsed to check their syntax and to know what they set.

    arguments: the command line with every file as an existing path. A missing file is looked up among those that the
    package ships, so that `-c configs/digits.yaml` works from any folder. allowed: the packages of `--allow`, which are
    removed from the arguments.

    Raises ConfigError for a file that is missing, not valid YAML, not a mapping, or includes files by a `config` key,
    and for more than MOST_REFERENCES.
    """

    def __init__(self, arguments: list[str]):
        self.arguments: list[str] = []
        self.files: list[Path] = []
        self._settings: list[tuple[str, Any]] = []  # for each file and option in order: its name, what it sets
        arguments, self.allowed = allowlist.take_flags(arguments)
        takes_file = False
        for argument in arguments:
            flag, equals, value = argument.partition("=")
            if takes_file:
                argument = str(self._read(argument))
            elif equals and flag in ("-c", "--config"):
                argument = f"{flag}={self._read(value)}"
            elif flag.startswith("--"):
                self._settings.append((COMMAND_LINE, option_key(flag)))
            takes_file = argument in ("-c", "--config")
            self.arguments.append(argument)
        references = repr([self.arguments, self._settings]).count("${")
        if references > MOST_REFERENCES:
            raise ConfigError(
                f"expected at most {MOST_REFERENCES} references ${{...}}, got {references}; write some values out"
            )

    def _read(self, name: str) -> Path:
        path = find(name)
        content = read(path)
        self.files.append(path)
        self._settings.append((str(path), content))
        return path

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
        options = [setting for name, setting in self._settings if name == COMMAND_LINE]
        return any(is_within(option, [key]) for option in options)

    def of(self, key: str) -> str:
        """The source that decides a dotted key or anything below it: the last file or option that sets it."""
        best, source = 1, "configuration"
        for name, setting in self._settings:
            depth = (
                count_shared_parts(setting, key)
                if isinstance(setting, str)
                else count_set_parts(setting, key.split("."))
            )
            if depth >= best:
                best, source = depth, name
        return source


def read(path: Path) -> dict[str, Any]:
    """What a file sets. Raises ConfigError if it is not valid YAML, not a mapping, or includes files."""
    content = untrusted_yaml.load(path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected settings such as `trainer: {{max_steps: 1000}}`; the file has none")
    if "config" in content:
        raise ConfigError(f"{path}: config: files cannot include files; pass each with its own -c")
    return content


def find(name: str, kind: str = "configs") -> Path:
    """The file of that name, here or among the shipped ones of its kind. Raises ConfigError if there is none."""
    for folder in (Path(), *SHIPPED):
        if (folder / name).is_file():
            return folder / name
    if name == VARIABLE:  # what W&B's agent leaves of a variable that is not set
        raise ConfigError(f"the environment variable {name} is not set; run `export {name}=configs/digits.yaml`")
    shipped = sorted({f"{kind}/{path.name}" for folder in SHIPPED for path in (folder / kind).glob("*.yaml")})
    raise ConfigError(f"{name}: no such file; shipped ones are {', '.join(shipped)}")
