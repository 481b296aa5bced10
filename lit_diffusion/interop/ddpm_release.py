"""PyTorch conversions of the weights released by Ho et al. 2020: a state dict with the original names."""

import re
from typing import Any

from lit_diffusion.interop.names import Names
from lit_diffusion.interop.source import UNetSource, find_multipliers

NAMES = Names(
    ends={
        "stem": "conv_in",
        "time.dense1": "temb.dense.0",
        "time.dense2": "temb.dense.1",
        "norm": "norm_out",
        "head": "conv_out",
    },
    places={
        "down residual": "down.{level}.block.{j}",
        "down attention": "down.{level}.attn.{j}",
        "downsample": "down.{level}.downsample.conv",
        "middle residual": "mid.block_{number}",
        "middle attention": "mid.attn_1",
        "up residual": "up.{level}.block.{j}",
        "up attention": "up.{level}.attn.{j}",
        "upsample": "up.{level}.upsample.conv",
    },
    residual={
        "norm1": "norm1",
        "conv1": "conv1",
        "time": "temb_proj",
        "norm2": "norm2",
        "conv2": "conv2",
        "shortcut": "nin_shortcut",
    },
    attention={"norm": "norm", "query": "q", "key": "k", "value": "v", "out": "proj_out"},
)
OPTIONS = {  # fixed by the release, whatever the recipe
    "head_channels": None,
    "scale_shift": False,
    "symmetric_padding": False,
    "norm_eps": 1e-6,
    "ends_at_10000": True,
    "cosines_first": False,
    "time_scale": 1.0,
    "num_classes": None,
}
MARK = "down.0.block.0.conv1.weight"


class ReleasedWeights(UNetSource):
    """The architecture follows from names and shapes; schedule, variance and dropout come from the recipe.

    The image size is guessed as the one at which the release attends at 16x16.
    """

    format, names, learned = "DDPM release", NAMES, "LearnedDiagonal"

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.channels, self.outputs = self.shape("conv_in.weight", 4)[1], self.shape("conv_out.weight", 4)[0]
        options = self.network()
        attends = options["attention_levels"]
        self.guessed_size = 16 * 2 ** attends[0] if attends else None
        self.notes.append("T, schedule and variance come from the recipe: the weights do not contain them")

    def network(self) -> dict[str, Any]:
        found = [re.match(r"down\.(\d+)\.(block|attn)\.(\d+)\.", name) for name in self.weights]
        places = {(int(one[1]), one[2], int(one[3])) for one in found if one}
        levels = range(len({level for level, _, _ in places}))
        width = self.shape("conv_in.weight", 4)[0]
        widths = [self.shape(f"down.{level}.block.0.conv1.weight", 4)[0] for level in levels]
        return {
            "width": width,
            "multipliers": find_multipliers(widths, width, self.name, "its levels' channels"),
            "num_blocks": sum((level, kind) == (0, "block") for level, kind, _ in places),
            "attention_levels": [level for level in levels if (level, "attn", 0) in places],
            "num_heads": 1,
            "groups": 32,
            **OPTIONS,
        }
