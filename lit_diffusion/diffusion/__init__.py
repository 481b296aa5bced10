"""The mathematics of diffusion models: torch only, no framework, no files."""

from lit_diffusion.diffusion.bernoulli import BernoulliReverse, CleanBit, PreviousBit
from lit_diffusion.diffusion.decoder import DiscretizedGaussian, GaussianDensity, TanhDiscretizedGaussian
from lit_diffusion.diffusion.distributions import Bernoulli, Gaussian
from lit_diffusion.diffusion.gaussian import GaussianReverse
from lit_diffusion.diffusion.learned_schedule import LearnedSchedule
from lit_diffusion.diffusion.objective import Hybrid, Simple, VariationalBound
from lit_diffusion.diffusion.parameterization import Attractor, CleanImage, Epsilon, PosteriorMean, Velocity
from lit_diffusion.diffusion.process import BinomialProcess, GaussianProcess
from lit_diffusion.diffusion.sampler import AncestralSampler, DDIMSampler
from lit_diffusion.diffusion.schedule import (
    ConstantSchedule,
    CosineSchedule,
    JSDSchedule,
    LinearSchedule,
    LogSNRSchedule,
    QuadraticSchedule,
    RescaledLinearSchedule,
    SigmoidSchedule,
    TabulatedSchedule,
    WarmupSchedule,
)
from lit_diffusion.diffusion.timesteps import AllTimesteps, ImportanceSampled, LowDiscrepancy, Uniform
from lit_diffusion.diffusion.variance import (
    BetaVariance,
    LearnedDiagonal,
    LearnedRange,
    PosteriorVariance,
    SigmoidVariance,
)
from lit_diffusion.diffusion.weighting import BoundWeight, Constant, MinSNR

__all__ = [
    "AllTimesteps",
    "AncestralSampler",
    "Bernoulli",
    "Attractor",
    "BernoulliReverse",
    "BetaVariance",
    "BinomialProcess",
    "BoundWeight",
    "CleanBit",
    "CleanImage",
    "Constant",
    "ConstantSchedule",
    "CosineSchedule",
    "DDIMSampler",
    "DiscretizedGaussian",
    "Epsilon",
    "Gaussian",
    "GaussianDensity",
    "GaussianProcess",
    "GaussianReverse",
    "Hybrid",
    "ImportanceSampled",
    "JSDSchedule",
    "LearnedDiagonal",
    "LearnedRange",
    "LearnedSchedule",
    "LinearSchedule",
    "LogSNRSchedule",
    "LowDiscrepancy",
    "MinSNR",
    "PosteriorMean",
    "PosteriorVariance",
    "PreviousBit",
    "QuadraticSchedule",
    "RescaledLinearSchedule",
    "SigmoidSchedule",
    "SigmoidVariance",
    "Simple",
    "TabulatedSchedule",
    "TanhDiscretizedGaussian",
    "Uniform",
    "VariationalBound",
    "Velocity",
    "WarmupSchedule",
]
