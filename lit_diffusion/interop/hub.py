"""Models by their names on the Hugging Face hub, through an optional package."""

from pathlib import Path

from lit_diffusion.errors import ConfigError
from lit_diffusion.interop.diffusers.pipeline_folder import FILES, WEIGHTS

CONFIGS = ["*config.json", "model_index.json", "config.yaml"]
ENDINGS = ("safetensors", "bin")  # the first that there is


def download(name: str) -> Path:
    """The folder of a model in the hub's cache, fetched where it is not there yet.

    Raises ConfigError that says what to download and where to put it where the hub, or the package, cannot be reached.
    """
    by_hand = f"download {FILES} of {name} by hand into a folder, and write that folder"
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ConfigError(
            f"{name} is no file and no folder here, and names of the hub need a package: pip install huggingface_hub; "
            f"or {by_hand}"
        ) from error
    try:
        for ending in ENDINGS:
            folder = Path(snapshot_download(name, allow_patterns=[*CONFIGS, f"*{WEIGHTS}.{ending}"]))
            if any(folder.rglob(f"{WEIGHTS}.{ending}")):
                break
    except Exception as error:  # of the network, the hub or its cache, each with types of its own
        raise ConfigError(
            f"{name} is no file and no folder here, and cannot be fetched from the hub, nor is it in its cache "
            f"({type(error).__name__}); where there is a network, {by_hand}"
        ) from error
    return folder
