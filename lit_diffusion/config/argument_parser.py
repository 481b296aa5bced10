"""Options of our own commands."""

import argparse
from typing import NoReturn

from lit_diffusion.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """Says a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help")
