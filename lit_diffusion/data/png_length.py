"""Whether a PNG file contains all rows that its header announces: Pillow silently paints missing rows black."""

import struct
import zlib
from collections.abc import Iterator

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # Adam7
PART = 2**16  # bytes


def is_whole(path: str) -> bool:
    """Whether the data of a PNG file are as long as its size requires, expanded in parts."""
    chunks = _chunks(path)
    name, header = next(chunks)
    if name != b"IHDR" or len(header) != 13:
        return False
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    expected = _length(width, height, bits * CHANNELS.get(colour, 1), bool(interlaced))
    inflate, found = zlib.decompressobj(), 0
    for name, content in chunks:
        while name == b"IDAT" and content and found < expected:
            found += len(inflate.decompress(content, PART))
            content = inflate.unconsumed_tail
    return found + len(inflate.flush(PART)) >= expected


def _length(width: int, height: int, bits: int, interlaced: bool) -> int:
    """Bytes of all rows, each preceded by its filter type."""
    total = 0
    for left, top, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = max(0, -((left - width) // across)), max(0, -((top - height) // down))
        total += rows * (1 + (columns * bits + 7) // 8) if columns else 0
    return total


def _chunks(path: str) -> Iterator[tuple[bytes, bytes]]:
    with open(path, "rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            yield name, file.read(length)
            file.seek(4, 1)
