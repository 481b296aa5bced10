"""The one exception for mistakes that a user can fix."""

from collections.abc import Iterator
from contextlib import contextmanager


class ConfigError(ValueError):
    """One line that says what is wrong and what to do.

    The command line adds where (file and key), prints the line without a traceback and exits with status 2. `key` is
    the dotted configuration key to blame, such as `model.objective`, if it is not the key of the class that raises.
    """

    def __init__(self, message: str, key: str | None = None):
        super().__init__(one_line(message))
        self.key = key


def check_at_least(least: int, **settings: int | None) -> None:
    """Raises ConfigError that names the first of `settings` below `least`; None is not checked."""
    for name, value in settings.items():
        if value is not None and value < least:
            raise ConfigError(f"{name}: expected {least} or more, got {value}")


def one_line(text: object) -> str:
    """Untrusted text on one line, without characters that control a terminal."""
    return "".join(character if character.isprintable() else " " for character in " ".join(str(text).split()))


@contextmanager
def blamed_on(key: str | None) -> Iterator[None]:
    """A ConfigError inside that blames no key blames this one."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(str(error), error.key or key) from error


def first_words(error: BaseException) -> str:
    """The type and the beginning of the message of another library's error, for one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:100]}".removesuffix(": ")
