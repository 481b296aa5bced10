"""The mathematics of diffusion models: torch only, no framework, no files."""

from lit_diffusion.diffusion.bernoulli import BernoulliReverse, CleanBit, PreviousBit
from lit_diffusion.diffusion.decoder import (
    Decoder,
    DiscretizedGaussian,
    DiscretizedLogistic,
    GaussianDensity,
    TanhDiscretizedGaussian,
)
from lit_diffusion.diffusion.distributions import Bernoulli, Gaussian
from lit_diffusion.diffusion.gaussian import GaussianReverse
from lit_diffusion.diffusion.learned_schedule import LearnedSchedule
from lit_diffusion.diffusion.objective import Hybrid, Objective, Simple, VariationalBound
from lit_diffusion.diffusion.parameterization import (
    Attractor,
    CleanImage,
    Epsilon,
    Parameterization,
    PosteriorMean,
    Velocity,
)
from lit_diffusion.diffusion.process import BinomialProcess, GaussianProcess, Process
from lit_diffusion.diffusion.reverse import ReverseModel
from lit_diffusion.diffusion.sampler import AncestralSampler, Sampler
from lit_diffusion.diffusion.schedule import (
    ConstantSchedule,
    CosineSchedule,
    JSDSchedule,
    LinearSchedule,
    LogSNRSchedule,
    NoiseSchedule,
    QuadraticSchedule,
    RescaledLinearSchedule,
    SigmoidSchedule,
    TabulatedSchedule,
    WarmupSchedule,
)
from lit_diffusion.diffusion.solvers import DDIMSampler, DPMSolverPlusPlusSampler, HeunSampler
from lit_diffusion.diffusion.timesteps import AllTimesteps, ImportanceSampled, LowDiscrepancy, Timesteps, Uniform
from lit_diffusion.diffusion.variance import (
    BetaVariance,
    LearnedDiagonal,
    LearnedRange,
    PosteriorVariance,
    SigmoidVariance,
    Variance,
)
from lit_diffusion.diffusion.weighting import BoundWeight, Constant, MinSNR, Weighting

__all__ = [
    "AllTimesteps",
    "AncestralSampler",
    "Attractor",
    "Bernoulli",
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
    "DPMSolverPlusPlusSampler",
    "Decoder",
    "DiscretizedGaussian",
    "DiscretizedLogistic",
    "Epsilon",
    "Gaussian",
    "GaussianDensity",
    "GaussianProcess",
    "GaussianReverse",
    "HeunSampler",
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
    "NoiseSchedule",
    "Objective",
    "Parameterization",
    "PosteriorMean",
    "PosteriorVariance",
    "PreviousBit",
    "Process",
    "QuadraticSchedule",
    "RescaledLinearSchedule",
    "ReverseModel",
    "Sampler",
    "SigmoidSchedule",
    "SigmoidVariance",
    "Simple",
    "TabulatedSchedule",
    "TanhDiscretizedGaussian",
    "Timesteps",
    "Uniform",
    "Variance",
    "VariationalBound",
    "Velocity",
    "WarmupSchedule",
    "Weighting",
]
