"""Tables from Parquet files."""

from pathlib import Path
from typing import Any

import numpy as np

from lit_diffusion.data.tabular_columns import Columns, RowTable, check_size, in_words, most_numbers, numbered
from lit_diffusion.data.tabular_labels import read_labels
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
            _check_types(path, fields, [field for i, field in enumerate(schema) if i != label])
            names, label_names = [field.name for field in fields], [] if label is None else [schema.names[label]]
            for name in label_names:
                _check_label(path, schema.field(name))
            check_size(path, _count(file.metadata, names), most_numbers())
            table = file.read(columns=names + label_names)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{path}: cannot be read as Parquet ({one_line(error)})") from error
    parts = [_numbers(path, name, table.column(name).combine_chunks()) for name in names]
    values = np.concatenate(parts, axis=1)
    labels = next((read_labels(path, name, table.column(name).to_pylist()) for name in label_names), None)
    of_numbers = names if values.shape[1] == len(names) else numbered(values.shape[1])
    return RowTable(path, values, of_numbers, labels, read_from=names)


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


def _check_types(path: Path, fields: list[Any], others: list[Any]) -> None:
    """Raises ConfigError unless all fields are numbers, or the only one is a list of numbers. others: for advice."""

    def is_vector(field: Any) -> bool:
        return _is_list(field.type) and _is_number(field.type.value_type)

    if len(fields) == 1 and is_vector(fields[0]):
        return
    for field in fields:
        if not _is_number(field.type):
            numbers = [other.name for other in others if _is_number(other.type)]
            choices = ([numbers] if numbers else []) + [[other.name] for other in others if is_vector(other)]
            advice = " or ".join(f"[{in_words(names)}]" for names in choices[:2])
            raise ConfigError(
                f"{path}, column {field.name}: expected numbers, or a single column of lists of numbers, got "
                f"{field.type}; " + (f"choose others by `columns`, such as {advice}" if advice else "convert it")
            )


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)


def _check_label(path: Path, field: Any) -> None:
    """Raises ConfigError if a column cannot hold classes."""
    from pyarrow import types

    kind = field.type.value_type if types.is_dictionary(field.type) else field.type
    if types.is_nested(kind) or str(kind).endswith(("binary", "binary_view")) or types.is_fixed_size_binary(kind):
        raise ConfigError(
            f"{path}, column {field.name}: expected numbers or text as classes, got {field.type}; use another column",
            key="data.label_column",
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
