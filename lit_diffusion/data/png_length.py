"""Whether a PNG file contains all rows that its header announces: Pillow silently paints missing rows black."""

import struct
import zlib
from collections.abc import Iterator

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # Adam7
PART = 2**16  # bytes


def is_whole(content: bytes) -> bool:
    """Whether the data of a PNG file are as long as its size requires, expanded in parts."""
    chunks = _chunks(content)
    name, header = next(chunks, (b"", b""))
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


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        yield name, content[place + 8 : place + 8 + length]
        place += 12 + length
