"""Files of MNIST's format (IDX), packed by gzip or not, whose sizes are checked before they are read."""

import gzip
import hashlib
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from lit_diffusion.data.npz_file import read_exactly

UNREADABLE = (OSError, EOFError, ValueError, zlib.error)  # what reading a damaged file raises
GZIP = b"\x1f\x8b"
UINT8 = 8


def read_idx(path: Path) -> tuple[np.ndarray, str]:
    """The uint8 array of an IDX file, and the SHA-256 of its unpacked bytes.

    Whether it is packed is decided by its content, not its name. Raises one of UNREADABLE if the file is damaged, is
    shorter or longer than its header says, would take more than half of the usable memory, or is a decompression bomb.
    """
    if not path.is_file():
        raise ValueError("not a regular file")
    with path.open("rb") as raw:
        packed = raw.read(len(GZIP)) == GZIP
        raw.seek(0)
        file = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw
        start = file.read(4)
        if len(start) < 4 or start[:2] != b"\0\0":
            raise ValueError("not a file of MNIST's format")
        if start[2] != UINT8:
            raise ValueError(f"values of type {start[2]:#04x}; expected {UINT8:#04x}, unsigned bytes")
        lengths = file.read(4 * start[3])
        shape = tuple(int.from_bytes(lengths[i : i + 4], "big") for i in range(0, 4 * start[3], 4))
        size = 1
        for side in shape:
            size *= side
        there = path.stat().st_size - file.tell()
        if not packed and size > there:
            raise ValueError(f"truncated: its header says {'x'.join(map(str, shape))} bytes, but {there:,} follow")
        content = read_exactly(file, size, path.stat().st_size)
        if file.read(1):  # at the end of a packed file, its checksum is compared
            raise ValueError(f"longer than its header says, which is {'x'.join(map(str, shape))}")
    digest = hashlib.sha256(start + lengths)
    digest.update(content)
    return np.frombuffer(content, np.uint8).reshape(shape), digest.hexdigest()
