"""summary.json: what became of a run."""

import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from lit_diffusion.callbacks.timing import Timing
from lit_diffusion.errors import ConfigError
from lit_diffusion.files import written_whole

SCHEMA = 1
PACKAGES = ("lit_diffusion", "torch", "lightning", "torchvision", "torchmetrics", "torch-fidelity", "wandb")


class RunSummary(Callback):
    """Keeps `summary.json` in the trainer's root folder, whole at every moment: status, step, seed, scores, versions,
    git commit of the code, and seconds by activity. Tables and reports read it.

    status: "running", then "finished", "failed", or "diverged" where samples or the bound are not finite. `test` enters
    its scores into the summary that is there; where there is none, as in a folder made for another sampler's scores, it
    writes one.
    """

    def __init__(self) -> None:
        self.scores: dict[str, dict[str, Any]] = {}
        self.started = False
        self._loaded_step = 0

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
        self._write(trainer, pl_module, "failed" if trainer.interrupted else self._end)

    @rank_zero_only
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._loaded_step = checkpoint["global_step"]

    @rank_zero_only
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        summary = self.read(trainer) or self._summary(trainer, pl_module, self._end)
        summary["scores"].update(self.scores)
        if self._end == "diverged":
            summary["status"] = "diverged"
        self._put(self._path(trainer), summary)

    @classmethod
    def read(cls, trainer: Trainer) -> dict[str, Any] | None:
        """The summary that is there, or None. Raises ConfigError where it is none."""
        path = cls._path(trainer)
        try:
            summary = json.loads(path.read_text()) if path.exists() else None
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} is damaged ({error}); remove it, and scores go to a new one") from error
        if summary is not None and not (isinstance(summary, dict) and isinstance(summary.get("scores"), dict)):
            raise ConfigError(f"{path} is no summary of a run; remove it, and scores go to a new one")
        return summary

    @property
    def _end(self) -> str:
        return "diverged" if any(score["value"] is None for score in self.scores.values()) else "finished"

    @rank_zero_only
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self.started:
            self._write(trainer, pl_module, "failed")

    def _write(self, trainer: Trainer, pl_module: LightningModule, status: str) -> None:
        self._put(self._path(trainer), self._summary(trainer, pl_module, status))

    def _summary(self, trainer: Trainer, pl_module: LightningModule, status: str) -> dict[str, Any]:
        seconds = next((c.seconds for c in trainer.callbacks if isinstance(c, Timing)), {})
        return {
            "schema": SCHEMA,
            "status": status,
            "step": trainer.global_step or self._loaded_step,
            "seed": pl_module.seed,
            "scores": self.scores,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "git": git_commit(),
            "seconds": {activity: round(value, 3) for activity, value in seconds.items()},
        }

    @staticmethod
    def _path(trainer: Trainer) -> Path:
        return Path(trainer.default_root_dir) / "summary.json"

    @staticmethod
    def _put(path: Path, summary: dict[str, Any]) -> None:
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(summary, indent=2) + "\n")


def git_commit() -> str | None:
    """The commit of the code that runs, with "-dirty" where files differ from it; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
