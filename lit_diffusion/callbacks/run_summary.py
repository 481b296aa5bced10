"""summary.json: what became of a run."""

import json
import platform
import subprocess
from contextlib import suppress
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from lit_diffusion.callbacks.divergence import divergence_of
from lit_diffusion.callbacks.lookup import find_callback
from lit_diffusion.callbacks.timing import Timing
from lit_diffusion.config.relevance import affects_scores, check_same_experiment, list_changes
from lit_diffusion.runs import summary as summaries
from lit_diffusion.runs.atomic_files import written_whole

SETTINGS = "settings"  # in a checkpoint
PACKAGES = ("lit_diffusion", "torch", "lightning", "torchvision", "torchmetrics", "torch-fidelity", "wandb")


class RunSummary(Callback):
    """Keeps `summary.json` in the trainer's root folder, whole at every moment: status, step, seed, scores, settings,
    versions, git commit of the code, and seconds by activity. Tables and reports read it, in the folder or, as the text
    that it is, in the summary of a W&B run.

    status: "running", then "finished"; "failed", with the error or signal as reason; "diverged", with the reason, where
    the loss has exploded or the loss, samples or the bound are not finite. settings: the configuration by dotted keys.
    `test` enters its scores into the summary that is there; where there is none, as in a folder made for another
    sampler's scores, it writes one.
    """

    def __init__(self) -> None:
        self.scores: dict[str, dict[str, Any]] = {}
        self.settings: dict[str, Any] = {}
        self.working_folder = Path.cwd()  # from which relative paths in the settings count
        self.facts: dict[str, float] = {}  # numbers other than scores, such as how long sampling takes
        self.started = False
        self._loaded_step = 0
        self.loaded: dict[str, Any] | None = None  # the settings in the checkpoint

    def state_dict(self) -> dict[str, Any]:
        """The scores so far, those of the step that is being saved not among them."""
        return {"scores": self.scores}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.scores = state_dict["scores"]

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = True
        self._write(trainer, pl_module, "running")

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.started:
            self._write(trainer, pl_module, "running")

    @rank_zero_only
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module, "failed" if trainer.interrupted else self.outcome(trainer))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[SETTINGS] = self.settings

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._loaded_step = checkpoint["global_step"]
        self.loaded = checkpoint.get(SETTINGS)

    def changes(self, *keys: str) -> list[str]:
        """Which settings at or below these keys differ from the checkpoint's; the keys themselves if it holds none, as
        those of 0.1.0.
        """
        if self.loaded is None:
            return [*keys]
        return list_changes(self.loaded, self.settings, keys)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forgets the scores in the checkpoint, which are older than those in the summary."""
        self.scores = {}

    @rank_zero_only
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        end = self.outcome(trainer)
        summary = self.read(trainer) or self._summary(trainer, pl_module, end)
        summary["scores"].update(self.scores)
        summary["facts"] = {**summary.get("facts", {}), **self.facts}
        if end == "diverged":
            summary |= {"status": end, "reason": self.reason(trainer)}
        self._put(trainer, summary)

    def check(self, trainer: Trainer) -> None:
        """Raises ConfigError if the folder holds another experiment, whose summary the test's scores would enter."""
        found = self.read(trainer) or {}
        check_same_experiment(
            self._path(trainer).parent,
            found.get("settings") or {},
            self.settings,
            lambda key: key.startswith(("model.", "data.")) and affects_scores(key),
            "use --run.name=NAME for a separate folder, and name the checkpoint by its path",
        )

    @classmethod
    def read(cls, trainer: Trainer) -> dict[str, Any] | None:
        """The existing summary, or None. Raises ConfigError if the file is not a summary."""
        path = cls._path(trainer)
        return summaries.read(path) if path.exists() else None

    def outcome(self, trainer: Trainer) -> str:
        """The status of a run that has come to its end."""
        return "diverged" if self.reason(trainer) else "finished"

    def reason(self, trainer: Trainer) -> str | None:
        """Why the run counts as diverged, or None."""
        at_end = {name: score for name, score in self.scores.items() if not name.startswith(summaries.TRACKED)}
        infinite = [name for name, score in at_end.items() if score["value"] is None]
        return divergence_of(trainer) or (f"{', '.join(infinite)}: not finite" if infinite else None)

    @rank_zero_only
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        reason = " ".join((getattr(exception, "message", "") or str(exception) or type(exception).__name__).split())
        if self.started:
            with suppress(OSError):  # of a full disk, which is what has failed
                self._write(trainer, pl_module, "failed", reason[:300])

    def _write(self, trainer: Trainer, pl_module: LightningModule, status: str, reason: str | None = None) -> None:
        self._put(trainer, self._summary(trainer, pl_module, status, reason))

    def _summary(
        self, trainer: Trainer, pl_module: LightningModule, status: str, reason: str | None = None
    ) -> dict[str, Any]:
        reason = self.reason(trainer) if status == "diverged" else reason
        timing = find_callback(trainer, Timing)
        seconds = timing.seconds if timing else {}
        return {
            "schema": summaries.SCHEMA,
            "status": status,
            **({"reason": reason} if reason else {}),
            "step": trainer.global_step or self._loaded_step,
            "seed": pl_module.seed,
            "scores": self.scores,
            "facts": {"parameters": sum(one.numel() for one in pl_module.parameters()), **self.facts},
            "settings": self.settings,
            "working_folder": str(self.working_folder),
            **self._code,
            "seconds": {activity: round(value, 3) for activity, value in seconds.items()},
        }

    @cached_property
    def _code(self) -> dict[str, Any]:
        """The code that runs, as it was when first asked for: the files may change below a running process."""
        versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
        return {"versions": versions, "git": git_commit()}

    @staticmethod
    def _path(trainer: Trainer) -> Path:
        return Path(trainer.default_root_dir) / summaries.FILE

    @classmethod
    def _put(cls, trainer: Trainer, summary: dict[str, Any]) -> None:
        text = json.dumps(summary, indent=2) + "\n"
        with written_whole(cls._path(trainer)) as temporary:
            temporary.write_text(text)
        for logger in (one for one in trainer.loggers if isinstance(one, WandbLogger)):
            logger.experiment.summary[summaries.FILE] = text


def git_commit() -> str | None:
    """The commit of the code that runs, with "-dirty" where files differ from it; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
