"""What other code bases call the parts of the DDPM U-Net, and weights by our names from theirs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn import UNet

MOST_NAMES = 12  # of each kind of mistake that a message lists
PLACE = re.compile(
    r"(down|up)\.(\d+)\.(?:stages\.(\d+)\.(residual|attention)|(downsample|upsample))|middle\.(\d)\.(\w+)"
)


@dataclass(frozen=True)
class Names:
    """A code base's names. ends: of our stem, time.dense1, time.dense2, norm and head. places: of residual blocks and
    attentions by where they stand, as text with fields: {i} of the level in the order of computation, {level} by
    resolution, {j} of the block within the level, {k} of the block or {last} of the level among all that are computed
    one after the other, {after} the parts of its block. residual, attention: of what is inside a block.
    """

    ends: Mapping[str, str]
    places: Mapping[str, str]
    residual: Mapping[str, str]
    attention: Mapping[str, str]

    def of(self, network: UNet) -> dict[str, str]:
        """Their name of every parameter of ours."""
        return {name: self._of(name, network) for name in network.state_dict()}

    def _of(self, name: str, network: UNet) -> str:
        part, _, leaf = name.rpartition(".")
        if part in self.ends:
            return f"{self.ends[part]}.{leaf}"
        place = PLACE.match(part)
        assert place is not None, name
        way, i, j, block, sampling, middle, middle_block = place.groups()
        levels, inner = len(network.down), part[place.end() + 1 :]
        if middle is not None:
            key, fields = f"middle {middle_block}", {"j": int(middle), "number": int(middle) + 1, "k": 2 * int(middle)}
        else:
            stages = len(getattr(network, way)[0].stages)
            first = int(i) * (stages + 1) + 1 if way == "down" else int(i) * stages
            attends = not isinstance(getattr(network, way)[int(i)].stages[0].attention, nn.Identity)
            fields = {
                "i": int(i),
                "level": int(i) if way == "down" else levels - 1 - int(i),
                "j": int(j or 0),
                "k": first + int(j or 0),
                "last": first + stages - (way == "up"),
                "after": 1 + attends,
            }
            key = sampling or f"{way} {block}"
        inside = {"residual": self.residual, "attention": self.attention}.get(block or middle_block or "", {})
        return ".".join([self.places[key].format(**fields), *([inside[inner]] if inner in inside else []), leaf])


def adopted(theirs: Mapping[str, Tensor], network: UNet, names: Names, source: str) -> dict[str, Tensor]:
    """The weights of `network` by our names. theirs: by their names. Maps of pixels may be 1x1 convolutions there.

    Raises ConfigError that lists by name what is missing, unknown or of another shape.
    """
    expected, ours = network.state_dict(), names.of(network)
    like = {their: expected[our] for our, their in ours.items()}
    shaped = {name: flat(weight, like[name]) if name in like else weight for name, weight in theirs.items()}
    check_fit(shaped, like, source)
    return {our: shaped[their] for our, their in ours.items()}


def flat(weight: Tensor, like: Tensor) -> Tensor:
    """A convolution of one pixel as the matrix that it is, where `like` is a matrix."""
    is_pixel = like.ndim == 2 < weight.ndim and set(weight.shape[2:]) == {1}
    return weight.flatten(1) if is_pixel else weight


def check_fit(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Raises ConfigError, with names, unless both have the same names and shapes."""
    faults = {
        "missing": [name for name in expected if name not in weights],
        "unknown": [name for name in weights if name not in expected],
        "of another shape": [
            f"{name} {tuple(weight.shape)} instead of {tuple(expected[name].shape)}"
            for name, weight in weights.items()
            if name in expected and weight.shape != expected[name].shape
        ],
    }
    said = "; ".join(f"{what}: {listed(names)}" for what, names in faults.items() if names)
    if said:
        raise ConfigError(
            f"{source}: its weights are not those of the model that it describes; {said}; write a whole file of that "
            "model"
        )


def listed(names: list[str]) -> str:
    """Names, and how many more there are."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
