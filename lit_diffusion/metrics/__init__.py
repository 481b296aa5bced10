"""Scores of generated images: FID, IS, KID, precision and recall from one pass over the images."""

from lit_diffusion.metrics.score import Score

__all__ = ["Score"]
