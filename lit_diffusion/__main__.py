"""`python -m lit_diffusion`."""

from lit_diffusion.cli.entry import main

if __name__ == "__main__":
    main()
