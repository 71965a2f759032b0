"""Write the student that a teacher's run goes on with (`--student-start continue`) as a checkpoint of its own.

`fairseq-generate` reads the result as any other checkpoint.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial

from fairseq_dlf.command_line import add_version, count, option_names, place, run_command
from fairseq_dlf.core.files.outputs import require_writable

PROGRAM = "dlf-student"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    return run_command(PROGRAM, partial(run, options), option_names(parser), "stopped; nothing was written")


def run(options: argparse.Namespace) -> None:
    """Write the student that the options name, and say so."""
    logging.getLogger("fairseq").setLevel(logging.WARNING)
    # Takes seconds, for which --help and mistakes need not wait.
    from fairseq_dlf.translation.tools.checkpoints import save
    from fairseq_dlf.translation.tools.continued import continued_student

    require_writable(options.output, "output")
    found = continued_student(options.checkpoint, options.data, options.student, options.member)
    save(found.checkpoint, options.output)
    updates = f"after {found.updates:,} updates of its teacher"
    print(f"wrote the student of {options.checkpoint}, {updates}, to {options.output}")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description=(__doc__ or "").splitlines()[0])
    add_version(parser)
    parser.add_argument("checkpoint", type=place, help="checkpoint of the teacher, such as checkpoint_last.pt")
    parser.add_argument("--output", required=True, type=place, metavar="FILE", help="checkpoint to write")
    parser.add_argument("--member", type=count, default=1, help="which of several students (default: %(default)s)")
    parser.add_argument("--data", help="data-bin (default: the one of the teacher's run)")
    parser.add_argument("--student", type=place, metavar="FILE", help="its start (default: that of the teacher's run)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
