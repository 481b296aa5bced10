"""Arrow files with a column of encoded images, as `save_to_disk` of the `datasets` package writes them."""

import bisect
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from lit_diffusion.data.sources.per_process import PerProcess
from lit_diffusion.data.sources.saved_dataset import saved_files
from lit_diffusion.data.sources.table_source import TableSource

END = b"\xff\xff\xff\xff\0\0\0\0"  # of a stream whose writer was not interrupted
FILE = b"ARROW1"  # begins and ends the format with a footer


class ArrowSource(TableSource):
    """Rows of Arrow files, mapped into memory: only the images that are read are loaded."""

    suffixes = (".arrow",)

    def __init__(self, *arguments: Any, **options: Any):
        self._open = PerProcess(ArrowTables)
        super().__init__(*arguments, **options)

    def _shards(self, argument: str, root: str) -> list[str]:
        return saved_files(argument, root) or super()._shards(argument, root)

    def _schema(self, file: str) -> Any:
        return self._open().table(file).schema

    def _count(self, file: str) -> int:
        return self._open().table(file).num_rows

    def _values(self, file: str, column: str, field: str | None = None) -> Sequence[Any]:
        values = self._open().column(file, column)
        if field is None:
            return values.to_pylist()
        if values.type.get_field_index(field) < 0:
            return []
        return [one for chunk in values.chunks for one in chunk.field(field).to_pylist()]

    def _image(self, shard: int, row: int) -> bytes | None:
        starts, chunks = self._open().images(self.files[shard], self.columns.image, self.columns.nested)
        chunk = bisect.bisect_right(starts, row) - 1
        return chunks[chunk][row - starts[chunk]].as_py()


class ArrowTables:
    """The mapped files of one process."""

    def __init__(self) -> None:
        self.table = lru_cache(maxsize=None)(map_table)
        self.images = lru_cache(maxsize=None)(self._images)

    def column(self, path: str, name: str) -> Any:
        """A column of a file whose offsets lie within it: others would end the process."""
        column = self.table(path).column(name)
        column.validate(full=True)
        return column

    def _images(self, path: str, column: str, nested: bool) -> tuple[list[int], list[Any]]:
        """The first row of each batch of rows, and its images as an array of bytes."""
        starts, chunks, start = list[int](), list[Any](), 0
        for chunk in self.column(path, column).chunks:
            if len(chunk):
                chunks.append(chunk.field("bytes") if nested else chunk)
                starts.append(start)
                start += len(chunk)
        return starts, chunks


def map_table(path: str) -> Any:
    """A file as a table whose values stay on disk. Raises ValueError if it is truncated."""
    import pyarrow

    with open(path, "rb") as file:
        is_file = file.read(len(FILE)) == FILE
        file.seek(-len(END), os.SEEK_END)
        end = file.read()
    if not end.endswith(FILE if is_file else END):
        raise ValueError("truncated: its end is missing")
    mapped = pyarrow.memory_map(path)
    return (pyarrow.ipc.open_file(mapped) if is_file else pyarrow.ipc.open_stream(mapped)).read_all()
