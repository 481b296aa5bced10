"""Silence where Lightning says what does not matter here."""

import logging
import warnings
from pathlib import Path

from lit_diffusion.errors import one_line


def quiet() -> None:
    """Lightning's notices and warnings that say nothing about a run of ours are left out; other warnings are lines."""
    warnings.formatwarning = as_line
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # which says that a process has died before it ends the others
    logging.getLogger("lightning.fabric.strategies.launchers.subprocess_script").setLevel(logging.INFO)
    for message in (
        ".*does not have many workers.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*Experiment logs directory .* exists and is not empty.*",
        ".*number of training batches .* is smaller than the logging interval.*",
        ".*dirpath has changed.*",  # a resumed run has a folder of its own
        ".*loading a checkpoint outside the 'fit' stage.*",  # validate and test take the average that it holds
        ".*across ranks is zero.*",  # no held-out images: no validation
        ".*predict returned None.*",  # it has written files
        ".*callbacks used to create the checkpoint need to be provided.*",  # scores may be off
        ".*all_gather is deprecated.*",  # Lightning's call
        ".*weights_only.*",
        ".*treespec.*",
        r".*module\(s\) in eval mode at the start of training.*",  # the autoencoder of diffusion in latents
    ):
        warnings.filterwarnings("ignore", message=message)


def as_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning of Lightning's without the place in its code; of others with the place."""
    place = "" if "lightning" in Path(filename).parts else f"{filename}:{lineno}: {category.__name__}: "
    return f"{place}{one_line(message)}\n"
