"""Denoising diffusion models (Ho et al. 2020, Sohl-Dickstein et al. 2015) as a Lightning experiment framework."""

__version__ = "0.1.0"
