"""What a command says of its run: at the start what is about to happen, at the end where the results are."""

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer

from lit_diffusion.callbacks.ema import weights_in_use
from lit_diffusion.callbacks.evaluation import score_list
from lit_diffusion.callbacks.lookup import data_of, find_callback, generative_of, is_trial
from lit_diffusion.callbacks.progress import say
from lit_diffusion.callbacks.run_summary import RunSummary
from lit_diffusion.runs.notice import notice


class RunReport(Callback):
    """Prints lines above the progress bars, as the first process only.

    A fit begins with its folder, device, data and network, and ends with its status and what to look at. `validate`,
    `test` and `predict` begin with their checkpoint; the first two end with the loss, in the list of the scores.
    """

    def __init__(self) -> None:
        self._loaded_step = 0
        self._weights = ""

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._loaded_step = checkpoint["global_step"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batches = f"batches of {data_of(trainer).batch_size:,}"
        begin = "fast_dev_run" if is_trial(trainer) else folder_of(trainer)
        say(trainer, f"{begin}: {describe_steps(trainer)}, {batches}, on {describe_device(trainer)}")
        say(trainer, f"{describe_data(trainer)}; {describe_network(pl_module)}")
        if missing := missing_validation(trainer):
            notice(missing)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        summary, folder = find_callback(trainer, RunSummary), folder_of(trainer)
        if summary and summary.outcome(trainer) == "diverged":
            say(trainer, f"diverged: {folder}; {summary.reason(trainer)}; look at {folder}/metrics.csv")
            return
        if is_trial(trainer):
            say(trainer, "finished: training, validation and sampling work; nothing was kept")
            return
        pictures = sorted((folder / "samples").glob("*_samples.png"))
        results = [*map(str, pictures[-1:]), f"{folder}/metrics.csv", f"{folder}/summary.json"]
        say(trainer, f"finished: {folder}; look at {', '.join(results)}")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._say_checkpoint(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._say_checkpoint(trainer, pl_module)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._say_checkpoint(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._weights = weights_in_use(trainer)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._weights = weights_in_use(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._list_loss(trainer, trainer.validate_loop, "val/loss")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._list_loss(trainer, trainer.test_loop, "test/loss")
        say(trainer, f"finished: {folder_of(trainer)}/summary.json has these scores")

    def _say_checkpoint(self, trainer: Trainer, pl_module: LightningModule) -> None:
        checkpoint = f"{trainer.ckpt_path}, step {self._loaded_step:,}, on {describe_device(trainer)}"
        say(trainer, f"{checkpoint}; {describe_data(trainer)}; {describe_network(pl_module)}")

    def _list_loss(self, trainer: Trainer, loop: Any, name: str) -> None:
        """In the style of the other scores instead of Lightning's table, which `verbose` asks for."""
        if loop.verbose and name in trainer.callback_metrics:
            how = f"loss of {describe_held_out(trainer, sum(loop.max_batches))}, {self._weights} weights"
            say(trainer, score_list(how, {name: f"{trainer.callback_metrics[name].item():.7g}"}))
        loop.verbose = False


def folder_of(trainer: Trainer) -> Path:
    """The folder of the run."""
    return Path(trainer.default_root_dir)


def describe_device(trainer: Trainer) -> str:
    """The devices and, if it is not float32, the precision."""
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    number = f"{trainer.world_size} x " if trainer.world_size > 1 else ""
    return f"{number}{name}{'' if trainer.precision == '32-true' else f' in {trainer.precision}'}"


def describe_steps(trainer: Trainer) -> str:
    """The first and the last step of a fit; of one that time or a callback ends, the first."""
    begin, end = trainer.global_step, trainer.estimated_stepping_batches
    if math.isfinite(end):
        return f"steps {begin:,} to {end:,.0f}"
    timer = find_callback(trainer, Timer)
    left = timer.time_remaining() if timer else None
    how = "until it is stopped" if left is None else f"for {timedelta(seconds=round(left))}"
    return f"from step {begin:,} {how}"


def missing_validation(trainer: Trainer) -> str | None:
    """Why a fit that could validate never does; None if it does, or if its validations are due by the clock."""
    if not (trainer.enable_validation and data_of(trainer).sizes["test"]) or trainer.val_check_batch is None:
        return None
    epochs, window = trainer.check_val_every_n_epoch, trainer.accumulate_grad_batches
    batches = min(trainer.val_check_batch, trainer.num_training_batches if epochs else math.inf)
    step = math.ceil((batches + ((epochs or 1) - 1) * trainer.num_training_batches) / window)
    end = trainer.estimated_stepping_batches
    if step <= end or trainer.global_step >= end:
        return None
    key = "trainer.check_val_every_n_epoch" if epochs else "trainer.val_check_interval"
    instead = f"{'--trainer.check_val_every_n_epoch=null ' if epochs else ''}--trainer.val_check_interval"
    return (
        f"{key}: no validation happens before the end at step {end:,.0f}: the first would be at step {step:,}; use "
        f"{instead}={end * window:.0f}"
    )


def describe_data(trainer: Trainer) -> str:
    """The data set with the number of examples and their shape."""
    data = data_of(trainer)
    kind = "images" if len(data.image_shape) == 3 else "examples"
    shape, sizes = "x".join(map(str, data.image_shape)), data.sizes
    return f"{type(data).__name__}: {sizes['train']:,} training and {sizes['test']:,} test {kind} of {shape}"


def describe_held_out(trainer: Trainer, batches: int) -> str:
    """The examples in the first `batches` batches of the test split; `trainer.limit_test_batches` leaves some out."""
    data = data_of(trainer)
    number = data.sizes["test"]
    used = min(number, batches * data.eval_batch_size)
    return f"{number:,} test examples" if used == number else f"the first {used:,} of {number:,} test examples"


def describe_network(pl_module: LightningModule) -> str:
    """The networks and the number of all parameters of the model, and of those that are trained if that differs."""
    names = " and ".join(type(network).__name__ for network in generative_of(pl_module).networks or [pl_module])
    total, fixed = (sum(p.numel() for p in pl_module.parameters() if not p.requires_grad or kind) for kind in (1, 0))
    return f"{names}: {total:,} parameters{f', {total - fixed:,} of them trained' if fixed else ''}"
