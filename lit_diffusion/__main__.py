"""`python -m lit_diffusion`."""

from lit_diffusion.cli import main

if __name__ == "__main__":
    main()
