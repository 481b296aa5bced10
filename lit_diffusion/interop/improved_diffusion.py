"""State dicts of Improved DDPM (Nichol & Dhariwal 2021, released code)."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lit_diffusion.errors import ConfigError
from lit_diffusion.interop.names import Names
from lit_diffusion.interop.source import UNetSource, find_multipliers

NAMES = Names(
    ends={
        "stem": "input_blocks.0.0",
        "time.dense1": "time_embed.0",
        "time.dense2": "time_embed.2",
        "label.table": "label_emb",
        "norm": "out.0",
        "head": "out.2",
    },
    places={
        "down residual": "input_blocks.{k}.0",
        "down attention": "input_blocks.{k}.1",
        "downsample": "input_blocks.{last}.0.op",
        "middle residual": "middle_block.{k}",
        "middle attention": "middle_block.1",
        "up residual": "output_blocks.{k}.0",
        "up attention": "output_blocks.{k}.1",
        "upsample": "output_blocks.{last}.{after}.conv",
    },
    residual={
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "shortcut": "skip_connection",
    },
    attention={"norm": "norm", "query": "qkv.0", "key": "qkv.1", "value": "qkv.2", "out": "proj_out"},
)
MARK = "input_blocks.0.0.weight"


class ImprovedDiffusionWeights(UNetSource):
    """The architecture follows from names and shapes; T, schedule, number of heads, dropout and whether steps are
    rescaled (`time_scale`) come from the recipe, because a state dict does not contain them.

    The image size is guessed as the one at which the first attention is at 16x16.
    """

    format, names, learned = "improved-diffusion", NAMES, "LearnedRange"
    recipe_needed = (
        "the weights do not contain T, schedule, number of heads and time_scale; add -c with a configuration of the "
        "data "
        "and one with these, such as -c configs/cifar10.yaml -c configs/iddpm/cifar10.yaml"
    )

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.channels, self.outputs = self.shape(MARK, 4)[1], self.shape("out.2.weight", 4)[0]
        attends = self.network()["attention_levels"]
        self.guessed_size = 16 * 2 ** attends[0] if attends else None

    def network(self) -> dict[str, Any]:
        kinds: dict[int, set[str]] = {}
        for name in self.weights:
            if part := re.match(r"input_blocks\.(\d+)\.(\d\.op|\d\.qkv|0\.in_layers)", name):
                kinds.setdefault(int(part[1]), set()).add(part[2][2:])
        levels: list[list[int]] = [[]]
        for block, kind in sorted(kinds.items()):
            levels[-1].append(block) if "op" not in kind else levels.append([])
        if len({len(level) for level in levels}) != 1 or not levels[0]:
            raise ConfigError(
                f"{self.name}: expected the same number of residual blocks on all levels, got "
                f"{[len(level) for level in levels]}"
            )
        width = self.shape(MARK, 4)[0]
        widths = [self.shape(f"input_blocks.{level[0]}.0.in_layers.2.weight", 4)[0] for level in levels]
        time = self.shape(f"input_blocks.{levels[0][0]}.0.emb_layers.1.weight", 2)[0]
        return {
            "width": width,
            "multipliers": find_multipliers(widths, width, self.name, "its levels' channels"),
            "num_blocks": len(levels[0]),
            "attention_levels": [i for i, level in enumerate(levels) if "qkv" in kinds[level[0]]],
            "groups": 32,
            "head_channels": None,
            "scale_shift": time == 2 * widths[0],
            "symmetric_padding": True,
            "norm_eps": 1e-5,
            "ends_at_10000": False,
            "cosines_first": True,
            "num_classes": self.shape("label_emb.weight", 2)[0] if "label_emb.weight" in self.weights else None,
        }

    def split_weights(self, options: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Separates queries, keys and values: theirs are one map with outputs (head, which of the three, channel)."""
        heads, weights = int(options["num_heads"]), {}
        self.notes.append(
            f"T, schedule, num_heads ({heads}) and time_scale ({options['time_scale']:g}) come from the recipe: the "
            "weights do not contain them"
        )
        for name, weight in self.weights.items():
            base, qkv, leaf = name.rpartition("qkv.")
            if not qkv:
                weights[name] = weight
                continue
            if not weight.ndim or weight.shape[0] % (3 * heads):
                raise ConfigError(
                    f"{self.name}: {name} cannot be divided into {heads} heads; add -c with another num_heads"
                )
            parts = weight.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(1, 2)  # (3, C, ..)
            weights |= {f"{base}qkv.{i}.{leaf}": part for i, part in enumerate(parts)}
        return weights
