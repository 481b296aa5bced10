"""Other code bases' names of the parameters of the DDPM U-Net, and the map from theirs to ours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn import UNet

MOST_NAMES = 12  # listed in a message, per kind of mistake
PLACE = re.compile(
    r"(down|up)\.(\d+)\.(?:stages\.(\d+)\.(residual|attention)|(downsample|upsample))|middle\.(\d)\.(\w+)"
)


@dataclass(frozen=True)
class Names:
    """A code base's names. ends: of our stem, time.dense1, time.dense2, norm and head. places: of residual blocks and
    attentions by position, as text with fields: {i} is the level in order of computation, {level} by resolution, {j}
    the block within the level, {k} the block and {last} the level's resampling counted over the whole way, {after}
    the index behind the parts of its block. residual, attention: names of the layers inside a block.
    """

    ends: Mapping[str, str]
    places: Mapping[str, str]
    residual: Mapping[str, str]
    attention: Mapping[str, str]

    def map_names(self, network: UNet) -> dict[str, str]:
        """Our name to theirs, for every parameter of the network."""
        return {name: self._map_name(name, network) for name in network.state_dict()}

    def _map_name(self, name: str, network: UNet) -> str:
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


def map_state_dict(theirs: Mapping[str, Tensor], network: UNet, names: Names, source: str) -> dict[str, Tensor]:
    """The weights of `network` by our names, from `theirs` by their names, which may have 1x1 convolutions for our
    linear maps.

    Raises ConfigError that lists missing and unknown names and other shapes.
    """
    expected, ours = network.state_dict(), names.map_names(network)
    like = {their: expected[our] for our, their in ours.items()}
    shaped = {
        name: flatten_pixel_convolution(weight, like[name]) if name in like else weight
        for name, weight in theirs.items()
    }
    check_fit(shaped, like, source)
    return {our: shaped[their] for our, their in ours.items()}


def flatten_pixel_convolution(weight: Tensor, like: Tensor) -> Tensor:
    """A 1x1 convolution as a matrix if `like` is a matrix."""
    is_pixel = like.ndim == 2 < weight.ndim and set(weight.shape[2:]) == {1}
    return weight.flatten(1) if is_pixel else weight


def check_fit(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Raises ConfigError, with names, unless `weights` have exactly the expected names and shapes."""
    faults = {
        "missing": [name for name in expected if name not in weights],
        "unknown": [name for name in weights if name not in expected],
        "of another shape": [
            f"{name} {tuple(weight.shape)} instead of {tuple(expected[name].shape)}"
            for name, weight in weights.items()
            if name in expected and weight.shape != expected[name].shape
        ],
    }
    said = "; ".join(f"{what}: {join_names(names)}" for what, names in faults.items() if names)
    if said:
        raise ConfigError(f"{source}: the weights do not match the model; {said}; use a complete file of this model")


def join_names(names: list[str]) -> str:
    """The first names, and the number of the others."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
