"""Arrays from NPZ and NPY files of others, none of them read before it is known how large it will be."""

from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np
from numpy.lib import format as npy

from lit_diffusion.memory import usable_memory

SMALL = 2**30  # bytes that are read whatever the file's size
MOST_EXPANDED = 100  # bytes of images by byte of a file beyond that; real images have less than 10
SHARE_OF_MEMORY = 1 / 2


def read_array(path: Path, name: str) -> np.ndarray:
    """The array `name` of an NPZ file, or that of an NPY file.

    Raises ValueError where it is not there, holds Python objects, is not as long as its header says, would take more
    than half of the memory there is, or expands as no images do; OSError and BadZipFile where the file is damaged.
    """
    if not path.is_file():
        raise ValueError("no regular file")
    if not is_zipfile(path):
        with path.open("rb") as file:
            return _checked(file, path.stat().st_size, path.stat().st_size)
    with ZipFile(path) as archive:
        names = [info for info in archive.infolist() if info.filename == f"{name}.npy"]
        if len(names) != 1:
            raise ValueError(f"{len(names)} arrays {name} in it")
        with archive.open(names[0]) as file:
            try:
                return _checked(file, names[0].file_size, path.stat().st_size)
            except EOFError as error:
                raise BadZipFile(str(error)) from error


def _checked(file: IO[bytes], length: int, stored: int) -> np.ndarray:
    """The array in a stream of `length` bytes, of a file of `stored` bytes."""
    version = npy.read_magic(file)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"NPY version {version}")
    shape, fortran, dtype = readers[version](file)
    if dtype.hasobject:
        raise ValueError("Python objects, which are code")
    count = 1
    for side in shape:
        if side < 0:
            raise ValueError(f"a shape of {shape}")
        count *= side
    size = count * dtype.itemsize
    if size != length - file.tell():
        raise ValueError(f"the header says {size:,} bytes of {shape}, there are {length - file.tell():,}")
    if size > max(SMALL, MOST_EXPANDED * stored):
        raise ValueError(f"{stored:,} bytes that expand to {size:,}, a decompression bomb")
    if size > SHARE_OF_MEMORY * usable_memory():
        raise ValueError(f"{size:,} bytes, more than half of the memory that this process may use")
    array = np.empty(count, dtype)
    view = memoryview(array).cast("B") if count else memoryview(b"")
    read = 0
    while read < size:
        part = file.read(min(2**20, size - read))
        if not part:
            raise ValueError("truncated")
        view[read : read + len(part)] = part
        read += len(part)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
