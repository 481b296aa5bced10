"""Columns of texts within the width of a terminal: lines break between words, and inside of names only if they must."""

import re
from collections.abc import Sequence

from rich.cells import cell_len, chop_cells

GAP = 2  # characters between columns
NEVER = r"(?!)"
WORDS = r"(?<=[\s,/=])(?=\S)|(?<=\S)(?=±)"
PARTS = rf"{WORDS}|(?<=[._\-])(?=[A-Za-z])|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
BREAKS = (NEVER, WORDS)  # where a line may end, best first; PARTS is for when nothing else helps


def widths(columns: Sequence[Sequence[str]], total: int, breaks: str) -> list[int] | None:
    """Of columns that make `total` characters at most; None where that cannot be."""
    room = total - GAP * (len(columns) - 1)
    least = [max(cell_len(piece) for text in texts for piece in pieces(text, breaks)) for texts in columns]
    most = [max(cell_len(text) for text in texts) for texts in columns]
    if sum(least) > room:
        return None
    cap = next(cap for cap in range(max(most), -1, -1) if sum(_capped(least, most, cap)) <= room)
    return _capped(least, most, cap)


def _capped(least: Sequence[int], most: Sequence[int], cap: int) -> list[int]:
    return [max(low, min(high, cap)) for low, high in zip(least, most)]


def squeezed(columns: Sequence[Sequence[str]], total: int) -> list[int]:
    """Where nothing fits: all columns as wide as there is room, at least one character."""
    most = [max(cell_len(text) for text in texts) for texts in columns]
    room = total - GAP * (len(columns) - 1)
    caps = range(max(most), 0, -1)
    cap = next((cap for cap in caps if sum(_capped([1] * len(most), most, cap)) <= room), 1)
    return _capped([1] * len(most), most, cap)


def pieces(text: str, breaks: str) -> list[str]:
    """What a line holds whole."""
    return [piece.rstrip() for piece in re.split(breaks, text)]


def wrapped(text: str, width: int, breaks: str) -> str:
    """In lines of at most `width` characters; a piece that is longer is cut."""
    lines = [""]
    for piece in re.split(breaks, text):
        if lines[-1] and cell_len((lines[-1] + piece).rstrip()) > width:
            lines.append("")
        *cut, rest = chop_cells(piece.rstrip(), width) if cell_len(piece.rstrip()) > width else [piece]
        lines[-1:] = [lines[-1] + part for part in cut[:1]] + cut[1:] + [rest] if cut else [lines[-1] + rest]
    return "\n".join(line.rstrip() for line in lines)
