"""`python -m experiments`."""

import logging
import sys

from experiments.command_line import main

if __name__ == "__main__":
    # Packages log while they are imported.
    logging.disable(logging.WARNING)
    sys.exit(main())
