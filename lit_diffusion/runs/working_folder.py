"""From which folder the relative paths in the configuration of a run count."""

import re
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from lit_diffusion.config.keys import normalize_key
from lit_diffusion.config.sources import ConfigSources
from lit_diffusion.runs import summary as summaries
from lit_diffusion.runs.notice import notice

PATH_SETTING = re.compile(r"(data|scores\.features)\.(root|test_root|file|path)|model\.autoencoder\.run")


def anchor_paths(used: Namespace, saved: Namespace, sources: ConfigSources) -> Path:
    """Makes relative paths mean the same from every folder: those of a run's config.yaml count from its working folder,
    which is returned, those of the command line and of other files from where we are.

    used, saved: the settings of this command, and those that the run will record, in which paths of config.yaml stay.
    """
    named = {key for key, value in used.items() if str(value).endswith(".ImageHub")}  # by the hub, not by a path
    relative = {
        key: value
        for key, value in used.items()
        if isinstance(value, str) and PATH_SETTING.fullmatch(normalize_key(key)) and not Path(value).is_absolute()
        if not any(normalize_key(key).startswith(f"{normalize_key(one)}.") for one in named)
    }
    recorded = {key for key in relative if Path(sources.of(normalize_key(key))).name == "config.yaml"}
    folders = working_folders(sources)
    folder = next((one for one in folders if all((one / relative[key]).exists() for key in recorded)), folders[0])
    for key, value in relative.items():
        if key in recorded:
            used[key] = value if folder == Path.cwd() else str(folder / value)
            say_which(normalize_key(key), folder / value, [one / value for one in folders])
        elif folder != Path.cwd():
            used[key] = saved[key] = str(Path(value).resolve())
    return folder


def working_folders(sources: ConfigSources) -> list[Path]:
    """Where the paths in the config.yaml of a run may count from, likeliest first: for a run that was copied with its
    project, the folder of the copy; the folder where the run was started; where we are.
    """
    for file in reversed(sources.files):
        summary = file.with_name(summaries.FILE)
        if file.name == "config.yaml" and summary.is_file():
            content = summaries.read(summary)
            started = Path(str(content.get("working_folder", "")))
            if started.is_absolute():
                folders = [folder_of_copy(file.parent, started, content.get("settings") or {}), started, Path.cwd()]
                return [one for one in folders if one and one.is_dir()]
    return [Path.cwd()]


def folder_of_copy(run: Path, started: Path, settings: dict[str, Any]) -> Path | None:
    """The folder that contains a run as the one where it was started did; None if the run lies otherwise now."""
    place = started / str(settings.get("run.dir")) / str(settings.get("run.name"))
    if not place.is_relative_to(started):
        return None
    parts, here = place.relative_to(started).parts, run.resolve()
    return here.parents[len(parts) - 1] if here.parts[-len(parts) :] == parts else None


def say_which(key: str, chosen: Path, candidates: list[Path]) -> None:
    """Names the path that a setting means if there is another of that name."""
    for other in candidates:
        if chosen.exists() and other.exists() and not chosen.samefile(other):
            notice(f"{key}: {chosen} is used, and not {other}; use --{key}={other} for that one")
            return
