"""The one exception for mistakes that a user can mend."""

from collections.abc import Iterator
from contextlib import contextmanager


class ConfigError(ValueError):
    """One line that says what is wrong and what to write instead.

    The command line adds where (file and key), prints the line without a traceback and exits with status 2. `key` is
    the dotted configuration key to blame, as `model.objective`, where it is not the key of the class that raises.
    """

    def __init__(self, message: str, key: str | None = None):
        super().__init__(message)
        self.key = key


@contextmanager
def blamed_on(key: str | None) -> Iterator[None]:
    """A ConfigError inside that blames no key blames this one."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(str(error), error.key or key) from error
