"""Models of the Hugging Face hub by name, through an optional package."""

from pathlib import Path

from lit_diffusion.errors import ConfigError
from lit_diffusion.interop.diffusers.pipeline_folder import FILES, WEIGHTS

CONFIGS = ["*config.json", "model_index.json", "config.yaml"]
ENDINGS = ("safetensors", "bin")  # in order of preference


def download(name: str) -> Path:
    """The folder of a model in the hub's cache, downloaded if missing.

    Raises ConfigError, with what to download by hand, if the hub or the package is not available.
    """
    by_hand = f"download {FILES} of {name} by hand into a folder, and import that folder"
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ConfigError(
            f"{name} is not a file or folder, and names of the hub need a package: pip install huggingface_hub; or "
            f"{by_hand}"
        ) from error
    try:
        for ending in ENDINGS:
            folder = Path(snapshot_download(name, allow_patterns=[*CONFIGS, f"*{WEIGHTS}.{ending}"]))
            if any(folder.rglob(f"{WEIGHTS}.{ending}")):
                break
    except Exception as error:  # network, hub and cache each raise other types
        raise ConfigError(
            f"{name} is not a file or folder, not in the hub's cache, and cannot be downloaded "
            f"({type(error).__name__}); on a machine with a network, {by_hand}"
        ) from error
    return folder
