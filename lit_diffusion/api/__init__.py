"""The package at a Python prompt: what a notebook needs of the command line."""

from lit_diffusion.api.likelihood_result import LikelihoodResult
from lit_diffusion.api.loading import load
from lit_diffusion.api.scoring import score
from lit_diffusion.api.trained_model import TrainedModel
from lit_diffusion.api.training import train

__all__ = ["LikelihoodResult", "TrainedModel", "load", "score", "train"]
