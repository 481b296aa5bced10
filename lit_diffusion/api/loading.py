"""A run's folder as a trained model."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from lit_diffusion.api.prompt import as_arguments, one_line_errors, seeded
from lit_diffusion.api.trained_model import TrainedModel
from lit_diffusion.callbacks import EMA
from lit_diffusion.callbacks.lookup import find_callback
from lit_diffusion.config.sources import ConfigSources
from lit_diffusion.errors import ConfigError
from lit_diffusion.runs import checkpoint_files
from lit_diffusion.training.command import TrainingCLI, set_up

ONE_DEVICE = {"trainer.devices": 1, "trainer.num_nodes": 1, "trainer.strategy": "auto"}


@one_line_errors
def load(
    run: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] = "last",
    weights: Literal["ema", "raw"] = "ema",
    allow: Sequence[str] = (),
    **settings: Any,
) -> TrainedModel:
    """The model of a run, with its data, on one device. Nothing is written, and no global generator is touched.

    run: its folder. checkpoint: `last`, `best` (the lowest tracked FID or held-out loss) or a file. weights: averaged,
    or those that were trained. allow: packages whose classes the configuration may name, as `--allow`. settings:
    override those of the run, as options of the command line do; `__` stands for a dot: `data__root="/elsewhere"`,
    `trainer__accelerator="cpu"`.

    Raises ConfigError if the folder is not that of a run, or the checkpoint is missing, damaged or does not fit.
    """
    folder = Path(run).expanduser()
    file = folder / "config.yaml"
    if not file.is_file():
        found = "has no config.yaml" if folder.is_dir() else "is a file" if folder.exists() else "does not exist"
        raise ConfigError(f"{folder} is not the folder of a run: it {found}; use one that lightning fit has made")
    states_file = checkpoint_files.find(os.path.expanduser(checkpoint), folder).resolve()
    options = as_arguments(
        {**ONE_DEVICE, "trainer.enable_progress_bar": True, **settings, "ckpt_path": states_file}, allow
    )
    with seeded(None):
        set_up()
        cli = TrainingCLI(ConfigSources(["predict", "-c", str(file), *options]), only_check=True)
        module, trainer = cli.model.to(cli.trainer.strategy.root_device), cli.trainer
        states = checkpoint_files.read(states_file)
        module.load_state_dict(states["state_dict"])
        if ema := find_callback(trainer, EMA):
            ema.setup(trainer, module, "predict")
            ema.on_load_checkpoint(trainer, module, states)
            if weights == "ema":
                ema.on_predict_start(trainer, module)
    settings = cli.run_summary.settings
    return TrainedModel(module.eval(), cli.datamodule, trainer, folder, settings, states["global_step"])
