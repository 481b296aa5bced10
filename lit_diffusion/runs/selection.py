"""Which run a command works on: its folder, and the checkpoint that it loads."""

import tempfile
from pathlib import Path

from jsonargparse import Namespace

from lit_diffusion.config.sources import ConfigSources
from lit_diffusion.runs import checkpoint_files, run_folder
from lit_diffusion.runs.notice import is_first_process


class RunChoice:
    """Chosen by `run.dir`, `run.name`, `ckpt_path` and the folder of a run's config.yaml; the settings are updated to
    the choice.

    writes: whether the command trains there. trial: whether it does so in a temporary folder, which is removed at its
    end. folder: of the run. goes_on: whether that run is resumed in its folder.

    Raises ConfigError if the checkpoint does not exist, or if the folder is not that of a run.
    """

    def __init__(self, sources: ConfigSources, settings: Namespace, writes: bool, trial: bool = False):
        self.settings, self.writes, self.trial, self._owns = settings, writes, trial, False
        run = settings.run
        if sources.run is not None:
            run.dir, run.name = str(sources.run.parent), sources.run.resolve().name
        self.folder = Path(run.dir) / (run.name or run_folder.default_name(sources.files))
        self.goes_on = writes and settings.ckpt_path == "last"
        if self.goes_on and sources.says("run.name") and checkpoint_files.none_yet(self.folder):
            settings.ckpt_path = None
            self.goes_on = self.folder.is_dir()
        if settings.ckpt_path:
            settings.ckpt_path = str(checkpoint_files.find(settings.ckpt_path, self.folder))

    def take(self) -> None:
        """Creates the folder, or takes the existing one, if the command trains. Raises ConfigError, OSError."""
        if not self.writes:
            return
        inherited, first = run_folder.inherited(), is_first_process()
        if self.trial and inherited is None and first:
            self.folder = Path(tempfile.mkdtemp(prefix="lit_diffusion-")) / "trial"
        if self.goes_on and first:
            run_folder.continued(self.folder, anew=self.settings.ckpt_path is None)
        elif not self.goes_on and inherited is None and first:
            self.folder, self._owns = run_folder.reserve(self.folder), True
        elif not self.goes_on:
            self.folder = inherited or self.folder  # other ranks write nothing
        self.settings.run.name = self.folder.name

    def release(self, started: bool) -> None:
        """Removes a new folder if the run has not reached its first step, or is a trial."""
        if self._owns or self.goes_on:
            run_folder.release(self.folder, remove=self._owns and (self.trial or not started))
        if self._owns and self.trial:
            self.folder.parent.rmdir()
