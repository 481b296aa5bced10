"""`lit-diffusion doctor`: whether this machine can run the package, and how to fix what it cannot."""
