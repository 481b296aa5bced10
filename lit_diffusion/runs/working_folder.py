"""From which folder the relative paths in the configuration of a run count."""

import re
from pathlib import Path

from jsonargparse import Namespace

from lit_diffusion.config.keys import normalize_key
from lit_diffusion.config.sources import ConfigSources
from lit_diffusion.runs import summary as summaries

PATH_SETTING = re.compile(r"(data|scores\.features)\.(root|test_root|file|path)")


def working_folder(sources: ConfigSources) -> Path:
    """Where the run was started whose config.yaml is among the files, if that folder exists; else where we are."""
    for file in reversed(sources.files):
        summary = file.with_name(summaries.FILE)
        if file.name == "config.yaml" and summary.is_file():
            folder = Path(str(summaries.read(summary).get("working_folder", "")))
            return folder if folder.is_absolute() and folder.is_dir() else Path.cwd()
    return Path.cwd()


def anchor_paths(used: Namespace, saved: Namespace, sources: ConfigSources) -> Path:
    """Makes relative paths mean the same from every folder: those of a run's config.yaml count from its working folder,
    which is returned, those of the command line and of other files from where we are.

    used, saved: the settings of this command, and those that the run will record, in which paths of config.yaml stay.
    """
    folder = working_folder(sources)
    for key, value in [*used.items()] if folder != Path.cwd() else []:
        if not (isinstance(value, str) and PATH_SETTING.fullmatch(normalize_key(key))) or Path(value).is_absolute():
            continue
        if Path(sources.of(normalize_key(key))).name == "config.yaml":
            used[key] = str(folder / value)
        else:
            used[key] = saved[key] = str(Path(value).resolve())
    return folder
