"""`lit-diffusion doctor`: whether this machine can run the package, and what to do where it cannot."""
