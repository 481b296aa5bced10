"""Parquet files with a column of encoded images, as the `datasets` package and its hub write them."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from lit_diffusion.data.sources.per_process import PerProcess
from lit_diffusion.data.sources.table_source import TableSource
from lit_diffusion.errors import ConfigError
from lit_diffusion.memory import usable_memory

CACHED = 2**24  # bytes of row groups that each process keeps
SHARE_OF_MEMORY = 1 / 8


class ParquetSource(TableSource):
    """Rows of Parquet files. A row group is read for each image; those last read are kept."""

    suffixes = (".parquet",)

    def __init__(self, *arguments: Any, **options: Any):
        self._open = PerProcess(RowGroups)
        self._groups: dict[str, np.ndarray] = {}  # first rows of the row groups of each shard
        super().__init__(*arguments, **options)

    def _schema(self, file: str) -> Any:
        metadata = self._file(file).metadata
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        most = SHARE_OF_MEMORY * usable_memory()
        if large := [group.total_byte_size for group in groups if group.total_byte_size > most]:
            raise ConfigError(
                f"a row group takes {large[0]:,} bytes, more than an eighth of the memory; write smaller ones"
            )
        self._groups[file] = np.cumsum([0, *(group.num_rows for group in groups)])
        return self._file(file).schema_arrow

    def _count(self, file: str) -> int:
        return int(self._groups[file][-1])

    def _values(self, file: str, column: str, field: str | None = None) -> Sequence[Any]:
        table = self._file(file).read([f"{column}.{field}" if field else column], use_threads=False)
        chunks = [chunk for one in table.columns for chunk in one.chunks]
        return [value for chunk in chunks for value in (chunk.field(0) if field else chunk).to_pylist()]

    def _image(self, shard: int, row: int) -> bytes | None:
        file = self.files[shard]
        group = int(np.searchsorted(self._groups[file], row, side="right")) - 1
        values = self._open().values(file, group, self.columns.image, self.columns.nested)
        return values[row - int(self._groups[file][group])].as_py()

    def _file(self, file: str) -> Any:
        return self._open().file(file)


class RowGroups:
    """The open Parquet files of one process, and the columns of images that were read last."""

    def __init__(self) -> None:
        self._files: dict[str, Any] = {}
        self._kept: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._size = 0  # of what is kept, in bytes

    def file(self, path: str) -> Any:
        import pyarrow.parquet as parquet

        if path not in self._files:
            self._files[path] = parquet.ParquetFile(path, memory_map=True)
        return self._files[path]

    def values(self, path: str, group: int, column: str, nested: bool) -> Any:
        """The images of a row group as an array of bytes."""
        key = (path, group)
        if key not in self._kept:
            names = [f"{column}.bytes" if nested else column]
            chunk = self.file(path).read_row_group(group, columns=names, use_threads=False).column(0).combine_chunks()
            self._kept[key] = chunk.field("bytes") if nested else chunk
            self._size += self._kept[key].nbytes
            while len(self._kept) > 1 and self._size > CACHED:
                self._size -= self._kept.popitem(last=False)[1].nbytes
        self._kept.move_to_end(key)
        return self._kept[key]
