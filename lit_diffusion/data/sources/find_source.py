"""Which format a file or a folder has, by its name and its files' names."""

from pathlib import Path

from lit_diffusion.data.sources.arrow_source import ArrowSource
from lit_diffusion.data.sources.image_source import ImageSource
from lit_diffusion.data.sources.lmdb_source import LMDBSource
from lit_diffusion.data.sources.parquet_source import ParquetSource
from lit_diffusion.data.sources.tar_source import TarSource
from lit_diffusion.data.sources.zip_source import ZipSource

IN_SHARDS = {".parquet": ParquetSource, ".arrow": ArrowSource, ".tar": TarSource}


def find_source(argument: str, path: Path) -> ImageSource | None:
    """The images of an archive or a table at `path`; None if it is neither, but perhaps a folder of files or an array.

    argument: with which errors begin. Raises ConfigError if it is damaged.
    """
    if path.suffix.lower() == ".zip":
        return ZipSource(argument, str(path))
    if path.suffix.lower() in (".mdb", ".lmdb") or (path / "data.mdb").is_file():
        return LMDBSource(argument, str(path))
    for suffix, kind in IN_SHARDS.items():
        if path.suffix.lower() == suffix or (path.is_dir() and any(path.glob(f"*{suffix}"))):
            return kind(argument, str(path))
    return None
