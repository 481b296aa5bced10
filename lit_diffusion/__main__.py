"""`python -m lit_diffusion`."""

from lit_diffusion.cli import main

main()
