"""Arrays from untrusted NPZ and NPY files, whose sizes are checked before anything is read."""

from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np
from numpy.lib import format as npy

from lit_diffusion.memory import usable_memory

SMALL = 2**30  # bytes that are read whatever the size of the file
MOST_EXPANDED = 100  # beyond SMALL, bytes of images per byte of the file; real images have less than 10
SHARE_OF_MEMORY = 1 / 2


def read_array(path: Path, name: str) -> np.ndarray:
    """The array `name` of an NPZ file, or the array of an NPY file.

    Raises ValueError if it is missing, contains Python objects, does not have the length given by its header, would
    take more than half of the usable memory, or is a decompression bomb; OSError or BadZipFile if the file is damaged.
    """
    if not path.is_file():
        raise ValueError("not a regular file")
    if not is_zipfile(path):
        with path.open("rb") as file:
            return _checked(file, path.stat().st_size, path.stat().st_size)
    with ZipFile(path) as archive:
        names = [info for info in archive.infolist() if info.filename == f"{name}.npy"]
        if len(names) != 1:
            raise ValueError(f"expected one array {name}, found {len(names)}")
        with archive.open(names[0]) as file:
            try:
                return _checked(file, names[0].file_size, path.stat().st_size)
            except EOFError as error:
                raise BadZipFile(str(error)) from error


def map_array(path: Path) -> np.ndarray:
    """The array of an NPY file, mapped into memory and read where it is used. Raises ValueError like `read_array`."""
    if not path.is_file():
        raise ValueError("not a regular file")
    length = path.stat().st_size
    with path.open("rb") as file:
        shape, fortran, dtype = _header(file, length)
        return np.memmap(file, dtype, "r", file.tell(), shape, "F" if fortran else "C")


def _header(file: IO[bytes], length: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of the array in a stream of `length` bytes, which is left where its values begin."""
    version = npy.read_magic(file)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"NPY version {version}")
    shape, fortran, dtype = readers[version](file)
    if dtype.hasobject:
        raise ValueError("Python objects, which may run code")
    count = 1
    for side in shape:
        if side < 0:
            raise ValueError(f"shape {shape}")
        count *= side
    if (size := count * dtype.itemsize) != length - file.tell():
        raise ValueError(f"expected {size:,} bytes of shape {shape}, found {length - file.tell():,}")
    return shape, fortran, dtype


def _checked(file: IO[bytes], length: int, stored: int) -> np.ndarray:
    """The array in a stream of `length` bytes, from a file of `stored` bytes."""
    shape, fortran, dtype = _header(file, length)
    size = length - file.tell()
    content = read_exactly(file, size, stored)
    array = np.frombuffer(content, dtype) if size else np.empty(shape, dtype).ravel()
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def read_exactly(file: IO[bytes], size: int, stored: int) -> bytearray:
    """The next `size` bytes of a stream from a file of `stored` bytes.

    Raises ValueError if there are fewer, if they would take more than half of the usable memory, or if they are a
    decompression bomb.
    """
    if size > max(SMALL, MOST_EXPANDED * stored):
        raise ValueError(f"{stored:,} bytes that expand to {size:,}, a decompression bomb")
    if size > SHARE_OF_MEMORY * usable_memory():
        raise ValueError(f"{size:,} bytes, more than half of the memory that this process may use")
    content, read = bytearray(size), 0
    view = memoryview(content)
    while read < size:
        part = file.read(min(2**20, size - read))
        if not part:
            raise ValueError("truncated")
        view[read : read + len(part)] = part
        read += len(part)
    return content
