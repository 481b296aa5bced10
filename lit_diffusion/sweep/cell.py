"""One cell of a sweep: what its run sets besides the base configuration, and the name of its folder."""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lit_diffusion.config.keys import last_part
from lit_diffusion.errors import ConfigError

SEED = "seed_everything"
LONGEST = 120  # characters of a name
EXACT_FLOAT = 8  # characters of a float that is written in full


@dataclass(frozen=True)
class Cell:
    """The settings of one run.

    parameters: (key, value) pairs in the order of the sweep file.
    """

    parameters: tuple[tuple[str, Any], ...]

    @classmethod
    def make(cls, parameters: Mapping[str, Any]) -> "Cell":
        """The cell with these settings."""
        return cls(tuple(parameters.items()))

    @property
    def arguments(self) -> list[str]:
        """`--key=value` of every setting, in alphabetical order: the command line that W&B's agents write.

        So a class comes before its arguments, and `config` before data, ema, model, scores and trainer.
        """
        return [f"--{key}={value}" for key, value in sorted(self.parameters, key=lambda pair: pair[0])]

    @property
    def name(self) -> str:
        """A folder name such as `parameterization=Epsilon,config=objective-simple`, a function of the settings alone.

        Keys are shortened to their last part if that is unique; overlays omit `configs/` and `.yaml` and have `-` for
        `/`. If this does not determine the settings, as for a long number or for characters that file names lack, a
        hash of them is appended: two cells of a sweep never have the same name.
        """
        ends = Counter(last_part(key) for key, _ in self.parameters)
        name = ",".join(
            f"{last_part(key) if ends[last_part(key)] == 1 else key}={shorten_value(key, value)}"
            for key, value in self.parameters
        )
        if len(name) <= LONGEST and all(is_spelled_out(key, value) for key, value in self.parameters):
            return name
        digest = hashlib.blake2b(repr(self.arguments).encode(), digest_size=4).hexdigest()
        return f"{name[: LONGEST - len(digest) - 1]}-{digest}"

    def with_seed(self, seed: int) -> "Cell":
        """The same cell with a seed. Raises ConfigError if the sweep file sets the seed already."""
        if SEED in dict(self.parameters):
            raise ConfigError(f"parameters.{SEED}: the sweep file sets the seeds; request no others")
        return Cell((*self.parameters, (SEED, seed)))


def shorten_value(key: str, value: Any) -> str:
    """A value as part of a file name."""
    text = str(value)
    if key == "config":
        text = text.removeprefix("configs/").removesuffix(".yaml").replace("/", "-")
    elif isinstance(value, float) and len(text) > EXACT_FLOAT:
        text = f"{value:.4g}"
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text)


def is_spelled_out(key: str, value: Any) -> bool:
    """Whether no other value is shortened to the same text."""
    text = shorten_value(key, value)
    return str(value) == (f"configs/{text.replace('-', '/')}.yaml" if key == "config" else text)
