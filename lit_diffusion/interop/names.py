"""What other code bases call the parts of the DDPM U-Net, and weights by our names from theirs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.nn import UNet

MOST_NAMES = 12  # of each kind of mistake that a message lists
PLACE = re.compile(r"(down|up)\.(\d+)\.(?:stages\.(\d+)\.(residual|attention)|(downsample|upsample))|middle\.(\d)\.(\w+)")


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
    ours = names.of(network)
    expected = network.state_dict()
    missing = [their for their in ours.values() if their not in theirs]
    known = set(ours.values())
    unknown = [name for name in theirs if name not in known]
    found = {our: flat(theirs[their], expected[our]) for our, their in ours.items() if their in theirs}
    wrong = [
        f"{ours[our]} {tuple(theirs[ours[our]].shape)} instead of {tuple(expected[our].shape)}"
        for our, weight in found.items()
        if weight.shape != expected[our].shape
    ]
    refuse_others(source, missing, unknown, wrong)
    return found


def flat(weight: Tensor, like: Tensor) -> Tensor:
    """A convolution of one pixel as the matrix that it is, where `like` is a matrix."""
    is_pixel = like.ndim == 2 < weight.ndim and set(weight.shape[2:]) == {1}
    return weight.flatten(1) if is_pixel else weight


def refuse_others(source: str, missing: Iterable[str], unknown: Iterable[str], wrong: Iterable[str]) -> None:
    """Raises ConfigError, with names, unless all three are empty."""
    faults = [
        f"{what} {listed(names)}"
        for what, names in (("missing:", [*missing]), ("unknown:", [*unknown]), ("of another shape:", [*wrong]))
        if names
    ]
    if faults:
        raise ConfigError(
            f"{source}: its weights are not those of the network that it describes; {'; '.join(faults)}; "
            "write a whole file of that network"
        )


def listed(names: list[str]) -> str:
    """Names, and how many more there are."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


