"""Which run a command is about: its folder, and the checkpoint that it takes up."""

from pathlib import Path

from jsonargparse import Namespace

from lit_diffusion.config.sources import ConfigSources
from lit_diffusion.runs import checkpoint_files, run_folder
from lit_diffusion.runs.notice import is_first_process


class RunChoice:
    """What `run.dir`, `run.name` and `ckpt_path` say, and the folder in which a run's config.yaml lies. The settings
    then say what was chosen.

    writes: whether the command trains there. folder: of the run. goes_on: whether that run is continued.

    Raises ConfigError where there is no such checkpoint, or something else in the way.
    """

    def __init__(self, sources: ConfigSources, settings: Namespace, writes: bool):
        self.settings, self.writes, self._owns = settings, writes, False
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
        """Makes the folder, or takes the one that is there, where the command trains. Raises ConfigError, OSError."""
        if not self.writes:
            return
        inherited, first = run_folder.inherited(), is_first_process()
        if self.goes_on and first:
            run_folder.continued(self.folder, anew=self.settings.ckpt_path is None)
        elif not self.goes_on and inherited is None and first:
            self.folder, self._owns = run_folder.reserve(self.folder), True
        elif not self.goes_on:
            self.folder = inherited or self.folder  # of the other ranks, none writes
        self.settings.run.name = self.folder.name

    def release(self, started: bool) -> None:
        """A run that has not reached its first step leaves nothing behind, but what was there before."""
        if self._owns or self.goes_on:
            run_folder.release(self.folder, remove=self._owns and not started)
