"""Training at a Python prompt."""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any

import wandb

from lit_diffusion.api.loading import ONE_DEVICE, load
from lit_diffusion.api.prompt import as_arguments, one_line_errors, seeded
from lit_diffusion.api.trained_model import TrainedModel
from lit_diffusion.config.sources import ConfigSources
from lit_diffusion.training.command import TrainingCLI, set_up


@one_line_errors
def train(
    *configs: str | os.PathLike[str], allow: Sequence[str] = (), progress: bool = True, **settings: Any
) -> TrainedModel:
    """Trains as `lightning fit -c CONFIG -c OVERLAY ... --KEY=VALUE ...` does, on one device unless `trainer.devices`
    is set, and returns the model as `load` does: averaged weights of the last step.

    configs: a complete file and overlays, here or among those that the package ships. settings: options by key,
    `trainer__max_steps=100` or `**{"trainer.max_steps": 100}`. allow: packages whose classes the configuration may
    name, as `--allow`. progress: whether it prints what `lightning fit` prints; warnings always reach standard error.

    >>> from lit_diffusion import train
    >>> model = train("configs/digits.yaml", trainer__max_steps=100)  # doctest: +SKIP

    Raises ConfigError for all that the command line refuses.
    """
    os.environ.setdefault("WANDB_SILENT", "true")  # wandb reads it once, when it is imported
    files = [part for config in configs for part in ("-c", os.fspath(config))]
    if not progress:
        settings = {"trainer.enable_progress_bar": False, **settings}
    options = as_arguments({**ONE_DEVICE, **settings}, allow)
    with seeded(None), nullcontext() if progress else redirect_stdout(io.StringIO()):
        set_up()
        with own_wandb_run():
            run = TrainingCLI(ConfigSources(["fit", *files, *options])).run
    return load(run.folder, allow=allow)


@contextmanager
def own_wandb_run() -> Iterator[None]:
    """Ends the W&B run that training has started, so that the next training in this process starts its own."""
    before = wandb.run
    try:
        yield
    finally:
        if wandb.run is not before:
            wandb.finish()
