"""What a user should know of, beside the output that was asked for."""

import sys

from lightning_utilities.core.rank_zero import rank_zero_only  # the doctor takes this, and imports no lightning

from lit_diffusion.errors import one_line


@rank_zero_only
def notice(message: str) -> None:
    """One line on standard error, once, whatever the number of processes."""
    print(one_line(message), file=sys.stderr)
