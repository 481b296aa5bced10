"""The mathematics of diffusion models: torch only, no framework, no files."""

from lit_diffusion.diffusion.decoder import DiscretizedGaussian, TanhDiscretizedGaussian
from lit_diffusion.diffusion.distributions import Gaussian
from lit_diffusion.diffusion.objective import Hybrid, Simple, VariationalBound
from lit_diffusion.diffusion.parameterization import CleanImage, Epsilon, PosteriorMean, Velocity
from lit_diffusion.diffusion.process import GaussianProcess
from lit_diffusion.diffusion.reverse import GaussianReverse
from lit_diffusion.diffusion.sampler import AncestralSampler, DDIMSampler
from lit_diffusion.diffusion.schedule import (
    ConstantSchedule,
    CosineSchedule,
    JSDSchedule,
    LinearSchedule,
    QuadraticSchedule,
    RescaledLinearSchedule,
    SigmoidSchedule,
    WarmupSchedule,
)
from lit_diffusion.diffusion.timesteps import AllTimesteps, ImportanceSampled, LowDiscrepancy, Uniform
from lit_diffusion.diffusion.variance import BetaVariance, LearnedDiagonal, LearnedRange, PosteriorVariance
from lit_diffusion.diffusion.weighting import BoundWeight, Constant, MinSNR

__all__ = [
    "AllTimesteps",
    "AncestralSampler",
    "BetaVariance",
    "BoundWeight",
    "CleanImage",
    "Constant",
    "ConstantSchedule",
    "CosineSchedule",
    "DDIMSampler",
    "DiscretizedGaussian",
    "Epsilon",
    "Gaussian",
    "GaussianProcess",
    "GaussianReverse",
    "Hybrid",
    "ImportanceSampled",
    "JSDSchedule",
    "LearnedDiagonal",
    "LearnedRange",
    "LinearSchedule",
    "LowDiscrepancy",
    "MinSNR",
    "PosteriorMean",
    "PosteriorVariance",
    "QuadraticSchedule",
    "RescaledLinearSchedule",
    "SigmoidSchedule",
    "Simple",
    "TanhDiscretizedGaussian",
    "Uniform",
    "VariationalBound",
    "Velocity",
    "WarmupSchedule",
]
