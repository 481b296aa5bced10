"""Options of our own commands."""

import argparse
from typing import Any, NoReturn

from lit_diffusion.config.suggestions import nearest
from lit_diffusion.errors import ConfigError

UNKNOWN = "unrecognized arguments: "


class Parser(argparse.ArgumentParser):
    """Says a mistake in one line, with the option that was meant; abbreviated options are refused."""

    def __init__(self, *args: Any, **kwargs: Any):
        self.options: list[str] = []
        super().__init__(*args, **{**kwargs, "allow_abbrev": False})

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        action = super().add_argument(*args, **kwargs)
        self.options += action.option_strings
        return action

    def error(self, message: str) -> NoReturn:
        instead = f"see {self.prog} --help"
        if message.startswith(UNKNOWN):
            argument = message.removeprefix(UNKNOWN).split()[0]
            option = argument.partition("=")[0] if argument.startswith("-") else ""
            message = f"{option}: no such option" if option else f"expected an option, got {argument}"
            if near := nearest(option, self.options) if option else None:
                instead = f"use {near}"
        raise ConfigError(f"{self.prog}: {message}; {instead}")
