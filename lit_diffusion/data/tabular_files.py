"""Tables of numbers by the kind of their file: NPY, NPZ, CSV, Parquet."""

from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from lit_diffusion.data.npz_file import read_array
from lit_diffusion.data.tabular_columns import Columns, RowTable, numbered
from lit_diffusion.data.tabular_csv import read_csv
from lit_diffusion.data.tabular_labels import read_labels
from lit_diffusion.data.tabular_parquet import read_parquet
from lit_diffusion.errors import ConfigError, one_line

NUMPY, TEXT, PARQUET = (".npy", ".npz"), (".csv", ".tsv", ".txt"), (".parquet", ".pq")


def read_table(file: str, columns: Columns, header: bool | None = None, delimiter: str | None = None) -> RowTable:
    """The chosen columns of a file of 2 or more rows. file: its path; `PATH:NAME` for an NPZ file of several arrays.

    Raises ConfigError, in one line that names the file and the place in it.
    """
    path, array = Path(file).expanduser(), None
    if ".npz:" in file and not path.exists():
        name, array = file.rsplit(":", 1)
        path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(f"expected an existing file, got {str(path)!r}; use the path of one, such as points.csv")
    suffix = path.suffix.lower()
    if suffix in NUMPY:
        table = read_numpy(path, array, columns)
    elif suffix in TEXT:
        table = read_csv(path, columns, header, delimiter)
    elif suffix in PARQUET:
        table = read_parquet(path, columns)
    else:
        raise ConfigError(f"expected a file named {', '.join(NUMPY + TEXT + PARQUET)}; got {str(path)!r}")
    if len(table.values) < 2:
        raise ConfigError(f"{path}: expected 2 or more rows, found {len(table.values)}")
    return table


def read_numpy(path: Path, array: str | None, columns: Columns) -> RowTable:
    """The rows of an array (N, D), or (N,) for D = 1. array: its name in an NPZ file, None for the only one."""
    try:
        names = member_names(path) if path.suffix.lower() == ".npz" else [""]
    except (OSError, BadZipFile) as error:
        raise ConfigError(f"{path}: cannot be read as NPZ ({one_line(error)})") from error
    if len(names) > 1 if array is None else array not in names:
        raise ConfigError(
            f"{path}: expected the name of an array, got {array or 'none'}; use {path}:NAME, one of {', '.join(names)}"
        )
    try:
        values = read_array(path, names[0] if array is None else array)
    except Exception as error:  # zip, zlib and numpy raise different kinds
        raise ConfigError(f"{path}: cannot be read as an array ({one_line(error)})") from error
    if values.dtype.kind not in "fiub":
        raise ConfigError(f"{path}: expected an array of numbers, got {values.dtype}; use CSV or Parquet for others")
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not values.shape[1]:
        raise ConfigError(f"{path}: expected shape (N, D), one example a row, got {values.shape}")
    names = numbered(values.shape[1])
    chosen, label = columns.among(path, names)
    labels = None if label is None else read_labels(path, names[label], values[:, label].tolist())
    return RowTable(path, values[:, chosen].astype(np.float64), [names[i] for i in chosen], labels)


def member_names(path: Path) -> list[str]:
    """The names of the arrays in an NPZ file."""
    with ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
