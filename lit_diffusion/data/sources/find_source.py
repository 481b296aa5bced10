"""Which format a file or a folder has, by its name and its files' names."""

import os
from collections.abc import Iterator
from pathlib import Path

from lit_diffusion.data.image_listing import SUFFIXES
from lit_diffusion.data.sources.arrow_source import ArrowSource
from lit_diffusion.data.sources.image_source import ImageSource
from lit_diffusion.data.sources.lmdb_source import LMDBSource
from lit_diffusion.data.sources.parquet_source import ParquetSource
from lit_diffusion.data.sources.tar_source import TarSource
from lit_diffusion.data.sources.zip_source import ZipSource

IN_SHARDS = {".parquet": ParquetSource, ".arrow": ArrowSource, ".tar": TarSource}


def find_source(argument: str, path: Path) -> ImageSource | None:
    """The images of an archive or a table at `path`; None if it is neither, but perhaps a folder of files or an array.

    A folder with images is that, whatever else is there. path: also a pattern of shards. argument: with which errors
    begin. Raises ConfigError if what is found is damaged.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        ends = {os.path.splitext(name)[1].lower() for name in _visible_files(path)}
        if not ends.isdisjoint(SUFFIXES):
            return None
        is_lmdb = (path / "data.mdb").is_file()
        suffix = ".mdb" if is_lmdb else next((one for one in IN_SHARDS if one in ends), "")
    if suffix in (".mdb", ".lmdb"):
        return LMDBSource(argument, str(path))
    if suffix == ".zip":
        return ZipSource(argument, str(path))
    return IN_SHARDS[suffix](argument, str(path)) if suffix in IN_SHARDS else None


def _visible_files(folder: Path) -> Iterator[str]:
    """The names of all files below a folder that are not hidden."""
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (name for name in names if not name.startswith("."))
