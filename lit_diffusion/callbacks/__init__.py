"""Callbacks, one a file."""

from lit_diffusion.callbacks.bits_per_dim import BitsPerDim
from lit_diffusion.callbacks.checkpoints import Checkpoints
from lit_diffusion.callbacks.divergence import Divergence
from lit_diffusion.callbacks.ema import EMA
from lit_diffusion.callbacks.evaluation import Evaluation
from lit_diffusion.callbacks.generation_metrics import GenerationMetrics
from lit_diffusion.callbacks.grids import SampleGrids
from lit_diffusion.callbacks.metrics_file import MetricsFile, MetricsLogger
from lit_diffusion.callbacks.parzen_window import ParzenWindow
from lit_diffusion.callbacks.predict import (
    Denoise,
    Inpaint,
    Interpolate,
    LatentInterpolate,
    LatentManifold,
    LatentReconstruct,
    Prediction,
    Reconstruct,
    Samples,
)
from lit_diffusion.callbacks.progress import RunProgress
from lit_diffusion.callbacks.run_report import RunReport
from lit_diffusion.callbacks.run_summary import RunSummary
from lit_diffusion.callbacks.speed import Speed
from lit_diffusion.callbacks.tensorboard import EventFiles, TensorBoard
from lit_diffusion.callbacks.timing import Timing

__all__ = [
    "EMA",
    "Denoise",
    "Inpaint",
    "BitsPerDim",
    "Checkpoints",
    "Divergence",
    "Evaluation",
    "EventFiles",
    "GenerationMetrics",
    "Interpolate",
    "LatentInterpolate",
    "LatentManifold",
    "LatentReconstruct",
    "MetricsFile",
    "MetricsLogger",
    "ParzenWindow",
    "Prediction",
    "Reconstruct",
    "RunProgress",
    "RunReport",
    "RunSummary",
    "SampleGrids",
    "Samples",
    "Speed",
    "TensorBoard",
    "Timing",
]
