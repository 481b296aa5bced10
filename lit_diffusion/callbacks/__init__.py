"""Callbacks, one a file."""

from lit_diffusion.callbacks.ema import EMA
from lit_diffusion.callbacks.grids import SampleGrids
from lit_diffusion.callbacks.last_checkpoint import LastCheckpoint
from lit_diffusion.callbacks.progress import RunProgress
from lit_diffusion.callbacks.run_summary import RunSummary
from lit_diffusion.callbacks.timing import Timing

__all__ = ["EMA", "LastCheckpoint", "RunProgress", "RunSummary", "SampleGrids", "Timing"]
