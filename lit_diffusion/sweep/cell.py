"""One cell of a sweep: what its run is told beside the base configuration, and the name of its folder."""

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
    def of(cls, parameters: Mapping[str, Any]) -> "Cell":
        """The cell of these settings."""
        return cls(tuple(parameters.items()))

    @property
    def arguments(self) -> list[str]:
        """`--key=value` of every setting, in alphabetical order: the command line that W&B's agents write.

        So a class comes before its own arguments, and `config` before data, ema, model, scores and trainer.
        """
        return [f"--{key}={value}" for key, value in sorted(self.parameters, key=lambda pair: pair[0])]

    @property
    def name(self) -> str:
        """A folder name, as `parameterization=Epsilon,config=objective-simple`: a function of the settings alone.

        Keys by their last part where that is enough; overlays without `configs/` and `.yaml`, with `-` for `/`. Where
        this does not spell the settings out, as for a long number or for characters that are no part of file names, a
        hash of them is appended: two cells of a sweep never share a name.
        """
        ends = Counter(last_part(key) for key, _ in self.parameters)
        name = ",".join(
            f"{last_part(key) if ends[last_part(key)] == 1 else key}={short(key, value)}"
            for key, value in self.parameters
        )
        if len(name) <= LONGEST and all(spelled_out(key, value) for key, value in self.parameters):
            return name
        digest = hashlib.blake2b(repr(self.arguments).encode(), digest_size=4).hexdigest()
        return f"{name[: LONGEST - len(digest) - 1]}-{digest}"

    def with_seed(self, seed: int) -> "Cell":
        """The same cell with a seed of its own. Raises ConfigError where the seed is swept already."""
        if SEED in dict(self.parameters):
            raise ConfigError(f"parameters.{SEED}: the sweep file sets the seeds; ask for no others")
        return Cell((*self.parameters, (SEED, seed)))


def short(key: str, value: Any) -> str:
    """A value as a part of a file name."""
    text = str(value)
    if key == "config":
        text = text.removeprefix("configs/").removesuffix(".yaml").replace("/", "-")
    elif isinstance(value, float) and len(text) > EXACT_FLOAT:
        text = f"{value:.4g}"
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text)


def spelled_out(key: str, value: Any) -> bool:
    """Whether no other value has the same short form."""
    text = short(key, value)
    return str(value) == (f"configs/{text.replace('-', '/')}.yaml" if key == "config" else text)
