"""One line on standard error, and which process of a distributed run prints it."""

import sys

from lightning_utilities.core.rank_zero import rank_zero_only  # not of Lightning itself, which takes seconds to import

from lit_diffusion.errors import one_line


def is_first_process() -> bool:
    """Whether this is the first process of a distributed run, or the only one of any other."""
    return not getattr(rank_zero_only, "rank", 0)


def notice(message: str) -> None:
    """Prints one line on standard error, once, whatever the number of processes."""
    if is_first_process():
        print(one_line(message), file=sys.stderr)
