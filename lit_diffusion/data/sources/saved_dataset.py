"""What `save_to_disk` of the `datasets` package notes about the files that it writes."""

import json
import os
from typing import Any

from lit_diffusion.data.sources.shards import check_links
from lit_diffusion.errors import ConfigError, one_line

SPLITS, STATE = "dataset_dict.json", "state.json"
MOST_BYTES = 2**24  # of either file
FLATTEN = "call flatten_indices() before save_to_disk"


def saved_files(argument: str, root: str) -> list[str] | None:
    """The files of a data set in the order of its rows, without what `map` or `filter` have cached next to them; None
    if `root` is not a folder that `save_to_disk` has written.

    argument: the setting that gives root. Raises ConfigError if it holds several splits, or a file is missing.
    """
    try:
        if os.path.isfile(file := os.path.join(root, SPLITS)):
            splits = [str(name) for name in _read(file)["splits"]]
            if len(splits) != 1:
                raise ConfigError(
                    f"{argument}: expected the folder of one split, but {root!r} has {', '.join(splits)}; choose one, "
                    f"such as {os.path.join(root, splits[0])}"
                )
            _check_names(splits)
            root = os.path.join(root, splits[0])
        if not os.path.isfile(file := os.path.join(root, STATE)):
            return None
        state = _read(file)
        names = [one["filename"] for one in state["_data_files"]]
        if state.get("_indices_data_files") or state.get("_indices_files"):
            raise ConfigError(f"{argument}: {root}: its rows are chosen by an indices file; {FLATTEN}")
        _check_names(names)
    except ConfigError:
        raise
    except Exception as error:  # JSON of any shape
        raise ConfigError(
            f"{argument}: {file}: cannot be read ({one_line(error) or type(error).__name__}); call save_to_disk again"
        ) from error
    files = [os.path.join(root, name) for name in names]
    if missing := [path for path in files if not os.path.isfile(path)]:
        raise ConfigError(f"{argument}: expected the files that {file} names, but {missing[0]} is missing")
    check_links(argument, root, files)
    return files


def _read(path: str) -> Any:
    with open(path, "rb") as file:
        return json.loads(file.read(MOST_BYTES))


def _check_names(names: list[str]) -> None:
    """Raises ValueError if one is not that of a file or folder in a folder."""
    if wrong := [name for name in names if os.path.basename(name) != name or name == ".."]:
        raise ValueError(f"{wrong[0]} leads out of the folder")
