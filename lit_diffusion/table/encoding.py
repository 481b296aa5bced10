"""Output where the terminal cannot write all that a table holds."""

import codecs
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TextIO

PLAIN = {
    "—": "-", "−": "-", "–": "-", "±": "+-", "≤": "<=", "‖": "||", "²": "^2", "μ": "mu", "ε": "epsilon", "Σ": "Sigma",
    "σ": "sigma", "β": "beta", "η": "eta", "θ": "theta", "λ": "lambda", "\u0303": "~",
}  # fmt: skip
NAME = "lit_diffusion.plain"


def plainer(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs: ASCII for what an encoding does not have, ? where there is nothing like it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(character, "?") for character in error.object[error.start : error.end]), error.end


codecs.register_error(NAME, plainer)


@contextmanager
def always_printable() -> Iterator[None]:
    """stdout and stderr write something for every character."""
    with ExitStack() as stack:
        for stream in (sys.stdout, sys.stderr):
            stack.enter_context(_plainer(stream))
        yield


@contextmanager
def _plainer(stream: TextIO) -> Iterator[None]:
    reconfigure, before = getattr(stream, "reconfigure", None), stream.errors
    if reconfigure is None or before not in ("strict", None):
        yield
        return
    reconfigure(errors=NAME)
    try:
        yield
    finally:
        reconfigure(errors=before)
