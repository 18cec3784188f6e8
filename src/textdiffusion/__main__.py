"""`python -m textdiffusion` is the command `textdiffusion`."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
