"""Configs and names of UNet2DModel, from and to those of our U-Net that computes the same."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from lit_diffusion.errors import ConfigError, one_line
from lit_diffusion.interop.diffusers.fields import VERSION, check_number
from lit_diffusion.interop.names import Names
from lit_diffusion.interop.source import find_multipliers
from lit_diffusion.nn import UNet
from lit_diffusion.nn.blocks import Attention

UNET: dict[str, Any] = {  # defaults
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [224, 448, 672, 896],
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
    "num_train_timesteps": None,  # used by a learned time embedding only
}
UNET_CHOICES: dict[str, tuple[Any, ...]] = {  # that our U-Net can express
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "freq_shift": (0, 1),
    "flip_sin_to_cos": (False, True),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "downsample_padding": (0, 1),
    "downsample_type": ("conv",),
    "upsample_type": ("conv",),
    "act_fn": ("silu", "swish"),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "add_attention": (True,),
    "class_embed_type": (None,),
}
# what diffusers' EMAModel writes into the config of the network that it has averaged; nothing of it acts on the network
AVERAGE = frozenset(
    ("decay", "min_decay", "optimization_step", "update_after_step", "use_ema_warmup", "inv_gamma", "power")
)
NAMES = Names(
    ends={
        "stem": "conv_in",
        "time.dense1": "time_embedding.linear_1",
        "time.dense2": "time_embedding.linear_2",
        "label.table": "class_embedding",
        "norm": "conv_norm_out",
        "head": "conv_out",
    },
    places={
        "down residual": "down_blocks.{i}.resnets.{j}",
        "down attention": "down_blocks.{i}.attentions.{j}",
        "downsample": "down_blocks.{i}.downsamplers.0.conv",
        "middle residual": "mid_block.resnets.{j}",
        "middle attention": "mid_block.attentions.0",
        "up residual": "up_blocks.{i}.resnets.{j}",
        "up attention": "up_blocks.{i}.attentions.{j}",
        "upsample": "up_blocks.{i}.upsamplers.0.conv",
    },
    residual={
        "norm1": "norm1",
        "conv1": "conv1",
        "time": "time_emb_proj",
        "norm2": "norm2",
        "conv2": "conv2",
        "shortcut": "conv_shortcut",
    },
    attention={"norm": "group_norm", "query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0"},
)
FORMER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # names up to diffusers 0.14


def convert_network(config: Mapping[str, Any], file: str) -> dict[str, Any]:
    """The options of our U-Net for a checked config of UNet2DModel. Raises ConfigError for what it cannot express."""
    for key in ("in_channels", "out_channels", "layers_per_block", "norm_num_groups"):
        check_number(config[key], f"{file}: {key}", 1, whole=True)
    for key in ("dropout", "norm_eps"):
        check_number(config[key], f"{file}: {key}")
    widths = config["block_out_channels"]
    if not isinstance(widths, list) or not widths:
        raise ConfigError(
            f"{file}: block_out_channels: expected a list of whole numbers, got {one_line(repr(widths))[:80]}"
        )
    width = [check_number(one, f"{file}: block_out_channels", 1, whole=True) for one in widths][0]
    attends = find_attention_levels(config, len(widths), file)
    if config["time_embedding_dim"] not in (None, 4 * width):
        raise ConfigError(f"{file}: time_embedding_dim: expected 4 x {width}, got {config['time_embedding_dim']}")
    scale_shift, groups = config["resnet_time_scale_shift"] == "scale_shift", config["norm_num_groups"]
    # with scale_shift the middle attention of UNet2DModel has no norm unless its groups are set
    if config["attn_norm_num_groups"] not in ((groups,) if scale_shift else (None, groups)):
        raise ConfigError(
            f"{file}: attn_norm_num_groups: expected a norm of {groups} groups before every attention, got "
            f"{config['attn_norm_num_groups'] or 'none'} in the middle"
        )
    head = config["attention_head_dim"]
    for key in ("attention_head_dim", "num_class_embeds"):
        if config[key] is not None:
            check_number(config[key], f"{file}: {key}", 1, whole=True)
    return {
        "width": width,
        "multipliers": find_multipliers(widths, width, file, "block_out_channels"),
        "num_blocks": config["layers_per_block"],
        "attention_levels": attends,
        "num_heads": 1,
        "dropout": config["dropout"],
        "groups": groups,
        "head_channels": head,
        "scale_shift": scale_shift,
        "symmetric_padding": config["downsample_padding"] == 1,
        "norm_eps": config["norm_eps"],
        "ends_at_10000": config["freq_shift"] == 1,
        "cosines_first": config["flip_sin_to_cos"],
        "time_scale": 1.0,
        "num_classes": config["num_class_embeds"],
    }


def find_attention_levels(config: Mapping[str, Any], levels: int, file: str) -> list[int]:
    """The levels with attention. Raises ConfigError unless the block types are supported and symmetric."""
    attends: list[list[bool]] = []
    for way, kind in (("down", "DownBlock2D"), ("up", "UpBlock2D")):
        key = f"{way}_block_types"
        types = config[key]
        if not isinstance(types, list) or len(types) != levels:
            raise ConfigError(
                f"{file}: {key}: expected {levels} blocks, one per block_out_channels, got {one_line(repr(types))[:80]}"
            )
        if other := [one for one in types if one not in (kind, f"Attn{kind}")]:
            raise ConfigError(f"{file}: {key}: expected {kind} or Attn{kind}, got {one_line(repr(other[0]))[:80]}")
        attends.append([one == f"Attn{kind}" for one in types])
    if attends[0] != attends[1][::-1]:
        raise ConfigError(f"{file}: up_block_types: expected attention at the same levels as in down_block_types")
    return [level for level, one in enumerate(attends[0]) if one]


def make_unet_config(network: UNet, options: Mapping[str, Any], size: int) -> dict[str, Any]:
    """The config of UNet2DModel for our U-Net. options: all of the U-Net's. size: side length of the images in pixels.

    Raises ConfigError, by name, for what UNet2DModel cannot express.
    """
    width, factors, attends = options["width"], list(options["multipliers"]), options["attention_levels"]
    if factors[0] != 1:
        raise ConfigError(
            f"UNet.multipliers: UNet2DModel cannot express {factors}, only lists that start with 1; use --format "
            "safetensors"
        )
    for name in ("time_scale", "patch_size"):
        if options[name] != 1:
            raise ConfigError(
                f"UNet.{name}: UNet2DModel cannot express {options[name]:g}, only 1; use --format safetensors"
            )
    types = ["AttnDownBlock2D" if level in attends else "DownBlock2D" for level in range(len(factors))]
    ups = ["AttnUpBlock2D" if level in attends else "UpBlock2D" for level in reversed(range(len(factors)))]
    return {
        "_class_name": "UNet2DModel",
        "_diffusers_version": VERSION,
        **UNET,
        "sample_size": size,
        "in_channels": network.stem.in_channels,
        "out_channels": network.head.out_channels,
        "freq_shift": int(options["ends_at_10000"]),
        "flip_sin_to_cos": options["cosines_first"],
        "down_block_types": types,
        "up_block_types": ups,
        "block_out_channels": [width * factor for factor in factors],
        "layers_per_block": options["num_blocks"],
        "downsample_padding": int(options["symmetric_padding"]),
        "dropout": options["dropout"],
        "attention_head_dim": head_channels(network),
        "norm_num_groups": options["groups"],
        "attn_norm_num_groups": options["groups"] if options["scale_shift"] else None,
        "norm_eps": options["norm_eps"],
        "resnet_time_scale_shift": "scale_shift" if options["scale_shift"] else "default",
        "num_class_embeds": None if options["num_classes"] is None else network.label.table.num_embeddings,
    }


def head_channels(network: nn.Module) -> int | None:
    """Channels per attention head; None if all attentions have one head."""
    attentions = [module for module in network.modules() if isinstance(module, Attention)]
    if all(one.num_heads == 1 for one in attentions):
        return None
    sizes = {one.query.in_features // one.num_heads for one in attentions}
    if len(sizes) > 1:
        raise ConfigError(
            f"UNet.num_heads: UNet2DModel cannot express heads of {sorted(sizes)} channels, only of one size; use "
            "--format "
            "safetensors"
        )
    return sizes.pop()
