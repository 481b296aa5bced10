"""When a model is scored, with which weights, and where the scores go: what all evaluations have in common."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from lit_diffusion.callbacks.after_step import AfterStep
from lit_diffusion.callbacks.divergence import divergence_of
from lit_diffusion.callbacks.ema import averaged
from lit_diffusion.callbacks.lookup import find_callback
from lit_diffusion.callbacks.progress import say
from lit_diffusion.callbacks.run_summary import RunSummary
from lit_diffusion.callbacks.timing import Timing
from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics.score import Score
from lit_diffusion.runs.summary import TRACKED

NAME_WIDTH = 18  # characters, of the longest common name, so that all lists are aligned


class Evaluation(AfterStep):
    """Scores a model in `lightning validate` and `test`, and in a fit every `every_n_steps` steps (0 for never) and,
    with `at_end`, when training is over. tracks_the_end: the last step too is one of every n.

    `evaluate` runs on all ranks at once, with the EMA weights in place and the module in evaluation mode. It must not
    touch torch's global generators: between two steps of training nothing may be disturbed.
    """

    activity = "scoring"
    tracks_the_end = False

    def __init__(self, every_n_steps: int, at_end: bool):
        if every_n_steps < 0:
            raise ConfigError(f"every_n_steps: expected 0 (never) or more, got {every_n_steps}")
        self.every_n_steps, self.at_end = every_n_steps, at_end
        self._loaded_step = 0

    @property
    def enabled(self) -> bool:
        """Whether there is anything to score at all."""
        return True

    @abstractmethod
    def check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raises ConfigError for all that would stop `evaluate`, before any training or sampling starts."""

    @abstractmethod
    def evaluate(self, trainer: Trainer, pl_module: LightningModule, final: bool) -> dict[str, Score]:
        """The scores, equal on all ranks. final: at the end of a fit or in `validate` and `test`."""

    def runs_in(self, command: str) -> bool:
        """Whether that command, of fit, validate, test and predict, will score."""
        in_fit = self.at_end or self.every_n_steps > 0
        return self.enabled and (in_fit if command == "fit" else command != "predict")

    def step(self, trainer: Trainer) -> int:
        """Updates that the weights have seen."""
        return trainer.global_step or self._loaded_step

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._loaded_step = checkpoint["global_step"]

    def due(self, trainer: Trainer) -> bool:
        if not (self.every_n_steps and self.enabled) or divergence_of(trainer):
            return False
        last = trainer.global_step >= trainer.estimated_stepping_batches
        return self.tracks_the_end if last else trainer.global_step % self.every_n_steps == 0

    def after_step(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._run(trainer, pl_module, final=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.at_end and self.enabled and not divergence_of(trainer):
            self._run(trainer, pl_module, final=True)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate" and self.enabled:
            self._run(trainer, pl_module, final=True)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.enabled:
            self._run(trainer, pl_module, final=True)

    def _run(self, trainer: Trainer, pl_module: LightningModule, final: bool) -> None:
        with evaluating(trainer, pl_module, self.activity), averaged(trainer, pl_module):
            scores = self.evaluate(trainer, pl_module, final)
        publish(trainer, scores, final)


@contextmanager
def evaluating(trainer: Trainer, pl_module: LightningModule, activity: str) -> Iterator[None]:
    """Evaluation mode, the trainer's precision, and time counted as `activity`."""
    timing, training = find_callback(trainer, Timing), pl_module.training
    with timing.measure(activity) if timing else nullcontext(), trainer.precision_plugin.forward_context():
        pl_module.eval()
        try:
            yield
        finally:
            pl_module.train(training)


@rank_zero_only
def publish(trainer: Trainer, scores: dict[str, Score], final: bool) -> None:
    """Scores go to the loggers, to summary.json, and to the terminal."""
    # what is tracked has another protocol, and so another name
    prefix = "" if final else TRACKED
    numbers = {f"{prefix}{name}": score.value for name, score in scores.items() if score.value is not None}
    for logger in trainer.loggers:
        logger.log_metrics(numbers, step=trainer.global_step)
    if summary := find_callback(trainer, RunSummary):
        summary.scores.update({f"{prefix}{name}": score.as_dict() for name, score in scores.items()})
    how = caption(next(iter(scores.values())).protocol) if scores else ""
    if final:
        say(trainer, score_list(how, {name: str(score) for name, score in scores.items()}))
    else:
        found = ", ".join(f"{name} {score}" for name, score in scores.items())
        say(trainer, f"step {trainer.global_step}: {found} ({how})")


def caption(protocol: Mapping[str, Any]) -> str:
    """What a reader must know of a score to compare it: features, samples, sampler, weights."""
    if "samples" not in protocol:
        parts = f"{protocol['terms']} of {protocol['T']} terms" if "terms" in protocol else f"{protocol['draws']} draws"
        return f"{parts} an image, {protocol['weights']} weights"
    sampler = f" of {protocol['sampler']} in {protocol['nfe']} steps" if "sampler" in protocol else ""
    drawn = f"{protocol['samples']} samples{sampler}"
    if "features" not in protocol:
        return f"sigma {protocol['sigma']:.3g}, {drawn}, {protocol['weights']} weights"
    return f"{protocol['protocol']} on {protocol['features']}, {drawn}, {protocol['weights']} weights"


def score_list(how: str, scores: Mapping[str, str]) -> str:
    """Scores for the terminal: how they were measured, then a line for each with its spread."""
    width = max([NAME_WIDTH, *map(len, scores)])
    return "\n".join([f"{how}:", *(f"  {name:<{width}}  {score}" for name, score in scores.items())])
