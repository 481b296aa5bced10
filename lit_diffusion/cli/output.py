"""Standard output and error that no character and no reader can break."""

import codecs
import io
import os
import select
import sys
from typing import Any, TextIO

READER_GONE = 141  # exit status of a command whose reader has left, as if killed by SIGPIPE: 128 + 13
ASCII = {
    "—": "-", "−": "-", "–": "-", "±": "+-", "≤": "<=", "‖": "||", "²": "^2", "μ": "mu", "ε": "epsilon", "Σ": "Sigma",
    "σ": "sigma", "β": "beta", "η": "eta", "θ": "theta", "λ": "lambda", "\u0303": "~", "↓": "v", "↑": "^", "…": "...",
}  # fmt: skip
TO_ASCII = "lit_diffusion.to_ascii"


def replace_by_ascii(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs: similar ASCII for characters that an encoding lacks, else a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(ASCII.get(character, "?") for character in error.object[error.start : error.end]), error.end


codecs.register_error(TO_ASCII, replace_by_ascii)


class Output(io.FileIO):
    """The file behind a standard stream. What cannot be written is dropped, and everything after it.

    works_on: whether the command does more than print, such as train: it then goes on in silence. Any other ends with
    READER_GONE if its reader has left, as after `| head -1`, and with the error of a full disk.
    """

    def __init__(self, descriptor: int, works_on: bool):
        super().__init__(descriptor, "w", closefd=False)
        self._works_on, self._broken = works_on, False

    def write(self, data: Any, /) -> int:
        if self._broken:
            return len(data)
        try:
            while (written := super().write(data)) is None:  # a terminal or pipe that does not block
                select.select([], [self], [])
            return written
        except OSError as error:
            self._broken = True
            if self._works_on:
                return len(data)
            if isinstance(error, BrokenPipeError):
                raise SystemExit(READER_GONE) from None
            raise


def open_output(stream: TextIO | None, works_on: bool) -> TextIO:
    """`stream`, a standard one, as an Output that prints something for every character; one that is closed as a stream
    to nowhere. Streams that somebody else has put in place stay.
    """
    if stream is None:  # closed by >&- or 2>&-
        return open(os.devnull, "w")  # noqa: SIM115
    if not isinstance(stream, io.TextIOWrapper) or stream not in (sys.__stdout__, sys.__stderr__):
        return stream
    stream.flush()
    at_once = stream.line_buffering or stream.write_through
    buffer = io.BufferedWriter(Output(stream.fileno(), works_on))
    return io.TextIOWrapper(buffer, stream.encoding, TO_ASCII, line_buffering=at_once)
