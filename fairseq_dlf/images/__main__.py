"""The command `python -m fairseq_dlf.images`."""

import sys

from fairseq_dlf.images.command_line import main

if __name__ == "__main__":
    sys.exit(main())
