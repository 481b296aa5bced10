"""Tables from Parquet files."""

from pathlib import Path
from typing import Any

import numpy as np

from lit_diffusion.data.tabular_columns import Columns, RowTable, check_size, in_words, most_numbers, numbered
from lit_diffusion.errors import ConfigError, one_line


def read_parquet(path: Path, columns: Columns) -> RowTable:
    """Columns of numbers or booleans, or one column of lists of equal lengths, whose elements are the dimensions.

    Raises ConfigError that names the columns that there are, or the row at fault.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ConfigError(
            f"{path}: Parquet needs pyarrow; pip install 'lit_diffusion[formats]', or use CSV or NPY"
        ) from error
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            chosen, label = columns.among(path, schema.names)
            fields = [schema.field(i) for i in chosen]
            _check_types(path, fields)
            names = [field.name for field in fields]
            check_size(path, _count(file.metadata, names), most_numbers())
            table = file.read(columns=names + ([] if label is None else [schema.names[label]]))
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{path}: cannot be read as Parquet ({one_line(error)})") from error
    parts = [_numbers(path, name, table.column(name).combine_chunks()) for name in names]
    labels = None if label is None else [str(value) for value in table.column(schema.names[label]).to_pylist()]
    values = np.concatenate(parts, axis=1)
    return RowTable(path, values, names if values.shape[1] == len(names) else numbered(values.shape[1]), labels)


def _count(metadata: Any, names: list[str]) -> int:
    """How many numbers these columns hold; paths of the elements of lists begin with the column's name."""
    chunks = (
        metadata.row_group(g).column(c) for g in range(metadata.num_row_groups) for c in range(metadata.num_columns)
    )
    starts = tuple(f"{name}." for name in names)
    return sum(c.num_values for c in chunks if f"{c.path_in_schema}.".startswith(starts))


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _check_types(path: Path, fields: list[Any]) -> None:
    """Raises ConfigError unless all fields are numbers, or the only one is a list of numbers."""
    from pyarrow import types

    def numeric(kind: Any) -> bool:
        return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)

    for field in fields:
        if not numeric(field.type.value_type if _is_list(field.type) and len(fields) == 1 else field.type):
            others = [other.name for other in fields if numeric(other.type) or _is_list(other.type)]
            raise ConfigError(
                f"{path}, column {field.name}: expected numbers, or one column of lists of numbers, got {field.type}; "
                f"choose others by `columns`" + (f", such as {in_words(others)}" if others else "")
            )


def _numbers(path: Path, name: str, column: Any) -> np.ndarray:
    """A column as float64 (N, 1), or (N, D) for lists of D numbers."""
    import pyarrow.compute as pc

    def refuse(row: int, text: str) -> ConfigError:
        return ConfigError(f"{path}, row {row + 1}, column {name}: {text}")

    if column.null_count:
        raise refuse(pc.index(column.is_null(), True).as_py(), "expected a number, got nothing")
    if not _is_list(column.type):
        return column.to_numpy(zero_copy_only=False).astype(np.float64)[:, None]
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    width = int(lengths[0]) if len(lengths) else 0
    odd = (lengths != width) | (lengths == 0)
    if odd.any():
        row = int(odd.argmax())
        raise refuse(row, f"expected {width or 'one or more'} numbers{' as in row 1' * (row > 0)}, got {lengths[row]}")
    values = column.flatten()
    if values.null_count:
        raise refuse(pc.index(values.is_null(), True).as_py() // width, f"expected {width} numbers, got an empty one")
    return values.to_numpy(zero_copy_only=False).astype(np.float64).reshape(len(lengths), width)
