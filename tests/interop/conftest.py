"""Models of other code bases with random weights, made on the spot, and what our import makes of them."""

from pathlib import Path

import pytest
import torch
import yaml
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel

from lit_diffusion.diffusion import GaussianReverse
from lit_diffusion.interop import import_command
from lit_diffusion.interop.construct import build_reverse
from lit_diffusion.interop.export_command import load_weights

# What the three repositories of google/ddpm-* say where they differ from UNet2DModel's defaults.
RELEASE = {
    "attention_head_dim": None,
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "norm_eps": 1e-6,
}


def unet_config(widths, attends, size, **options) -> dict:
    """A config of UNet2DModel with attention at the levels `attends`."""
    levels = range(len(widths))
    return {
        "sample_size": size,
        "block_out_channels": list(widths),
        "down_block_types": ["AttnDownBlock2D" if i in attends else "DownBlock2D" for i in levels],
        "up_block_types": ["AttnUpBlock2D" if i in attends else "UpBlock2D" for i in reversed(levels)],
        **RELEASE,
        **options,
    }


CIFAR10 = unet_config([128, 256, 256, 256], [1], 32)
OF_256 = unet_config([32, 32, 64, 64, 128, 128], [4], 256)  # that of celebahq, bedroom, church and cat, narrower
SMALL = unet_config([32, 64], [1], 8, in_channels=1, out_channels=1, layers_per_block=1)


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    """The module in evaluation mode, with weights none of which is zero or one."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


@pytest.fixture
def folder_of(tmp_path):
    """Saves a random UNet2DModel of a config with a scheduler as diffusers does: (the network, the folder)."""

    def save(config: dict, scheduler: DDPMScheduler | DDIMScheduler | None = None, name: str = "theirs", **how):
        torch.manual_seed(0)
        network = randomised(UNet2DModel(**config))
        DDPMPipeline(network, scheduler or DDPMScheduler()).save_pretrained(tmp_path / name, **how)
        return network, tmp_path / name

    return save


@pytest.fixture
def small(folder_of) -> Path:
    """A folder of diffusers with a network of digits, 20 steps."""
    return folder_of(SMALL, DDPMScheduler(num_train_timesteps=20))[1]


def imported(source, run: Path, *options: str) -> GaussianReverse:
    """Imports as the command does, and returns the model of the run's config.yaml and checkpoint."""
    import_command.main([str(source), "-o", str(run), *options])
    return model_of(run)


def model_of(run: Path) -> GaussianReverse:
    """The reverse model in a run's folder, with the average of its last checkpoint."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    weights = {name.removeprefix("reverse."): weight for name, weight in state.items()}
    return load_weights(build_reverse(config["model"]["init_args"]), weights)
