"""Configuration files: found by name, here or among the shipped ones, and read."""

import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lit_diffusion.config import untrusted_yaml
from lit_diffusion.config.suggestions import LIKELY, likeness, nearest
from lit_diffusion.errors import ConfigError

MOST_REFERENCES = 16  # `${...}` in total: each may expand to text with others, so that a few more could fill gigabytes
BASE = "configs/digits.yaml"
CLASSES = ("model", "data")  # what a complete file says
VARIABLE = "LIT_DIFFUSION_CONFIG"  # names the base configuration of a sweep run by W&B's agent
# In a checkout configs/ is next to the package; a wheel installs it in the environment's share folder.
SHIPPED = (Path(__file__).parents[2], Path(sysconfig.get_path("data")) / "share" / "lit_diffusion")


def read(path: Path) -> dict[str, Any]:
    """What a file sets. Raises ConfigError if it is not valid YAML, not a mapping, or includes files."""
    content = untrusted_yaml.load(path)
    if not isinstance(content, dict):
        instead = untrusted_yaml.hint(content) if isinstance(content, str) else None
        instead = instead or "expected settings such as `trainer: {max_steps: 1000}`; the file has none"
        raise ConfigError(f"{path}: {instead}")
    if "config" in content:
        raise ConfigError(f"{path}: config: files cannot include files; pass each with its own -c")
    return content


def names_class(content: dict[str, Any], key: str) -> bool:
    """Whether the content of a file says which class is at a key."""
    value = content.get(key)
    return isinstance(value, str) or (isinstance(value, dict) and "class_path" in value)


def find(name: str, kind: str = "configs") -> Path:
    """The file of that name, here or among the shipped ones of its kind. Raises ConfigError if there is none."""
    for folder in (Path(), *SHIPPED):
        if (folder / name).is_file():
            return folder / name
    if name == VARIABLE:  # what W&B's agent leaves of a variable that is not set
        raise ConfigError(f"the environment variable {name} is not set; run `export {name}=configs/digits.yaml`")
    for folder in (Path(), *SHIPPED):
        if (folder / name).is_dir():
            inside = sorted(str(Path(name) / path.name) for path in (folder / name).glob("*.yaml"))
            own = [path for path in inside if Path(path).name == "config.yaml" or path == BASE]  # of a run, or ours
            raise ConfigError(f"{name}: expected a file, got a folder; use {(own or inside or [BASE])[0]}")
    if "," in name:
        raise ConfigError(f"{name}: expected one file, got several; use -c {name.replace(',', ' -c ')}")
    shipped = shipped_files(kind)
    here = [str(path) for path in Path(name).parent.glob("*.yaml")] if Path(name).parent.is_dir() else []
    near = nearest_file(name, [*here, *shipped])
    instead = f"use {near}" if near else f"shipped ones are {', '.join(one for one in shipped if one.count('/') == 1)}"
    raise ConfigError(f"{name}: no such file; {instead}")


def shipped_files(kind: str) -> list[str]:
    """The names of the files of a kind that the package ships."""
    return sorted({str(path.relative_to(folder)) for folder in SHIPPED for path in (folder / kind).rglob("*.yaml")})


def nearest_file(name: str, files: Sequence[str]) -> str | None:
    """The file that is most like `name`, with or without its folders."""
    stem = Path(name).stem
    return max(
        (file for file in files if max(likeness(name, file), likeness(stem, Path(file).stem)) >= LIKELY),
        key=lambda file: (likeness(stem, Path(file).stem), likeness(name, file)),
        default=None,
    )


def base_of(overlay: str) -> str:
    """A complete file that an overlay may be meant for."""
    named = {name: read(find(name)) for name in shipped_files("configs") if name.count("/") == 1}
    whole = [name for name, content in named.items() if all(names_class(content, key) for key in CLASSES)]
    complete = {Path(name).stem: name for name in whole}
    return complete.get(nearest(Path(overlay).stem, complete) or "", BASE)
