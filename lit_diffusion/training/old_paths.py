"""Import paths of earlier versions, which the config.yaml of an old run still names. Kept for one release."""

import sys
from importlib import import_module

OLD = {
    "lit_diffusion.module": "lit_diffusion.modules.diffusion",
    "lit_diffusion.data.base": "lit_diffusion.data.image_data",
    "lit_diffusion.data.folder": "lit_diffusion.data.image_folder",
    "lit_diffusion.metrics.digits": "lit_diffusion.metrics.digits_features",
}


def accept_old_paths() -> None:
    """From now on in this process, modules can be imported by the paths that they had before."""
    for old, new in OLD.items():
        sys.modules.setdefault(old, import_module(new))
