"""Average the parameters of several fairseq checkpoints into one.

The result keeps the configuration of the last checkpoint and leaves out the
optimizer's state, so that `fairseq-generate` reads it as any other checkpoint.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from fairseq_dlf.command_line import add_version, count, option_names, place, run_command
from fairseq_dlf.core.files.outputs import require_writable
from fairseq_dlf.translation.tools.checkpoint_names import FILE_NAMES, last_checkpoints

PROGRAM = "dlf-average"
NOTES = """Floating-point parameters are averaged, and must be finite. A single whole number, such as a counter of
updates, is taken from the last checkpoint; larger tables of whole numbers must be the same in all of them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if (options.checkpoint_dir is None) != (options.last is None):
        parser.error("--checkpoint-dir and --last go together")
    stopped = "stopped; nothing was written"
    return run_command(PROGRAM, partial(run, options), option_names(parser), stopped)


def run(options: argparse.Namespace) -> None:
    """Average what the options name, write the result, and say so."""
    # Takes seconds, for which --help and mistakes need not wait.
    from fairseq_dlf.translation.tools.checkpoints import average, save

    require_writable(options.output, "output")
    inputs = options.inputs or last_checkpoints(options.checkpoint_dir, options.last, options.by)
    save(average(inputs), options.output)
    print(f"averaged {len(inputs)} checkpoints into {options.output}: {', '.join(map(str, inputs))}")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog=PROGRAM, description=summary, epilog=NOTES)
    add_version(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--inputs", nargs="+", type=place, metavar="FILE", help="checkpoints to average")
    source.add_argument("--checkpoint-dir", type=place, metavar="DIR", help="a --save-dir of fairseq-train")
    parser.add_argument("--last", type=count, metavar="N", help="average its N newest checkpoints")
    parser.add_argument(
        "--by",
        choices=sorted(FILE_NAMES),
        default="epoch",
        help="which checkpoints of the directory: checkpointE.pt or checkpoint_E_U.pt (default: epoch)",
    )
    parser.add_argument("--output", required=True, type=place, metavar="FILE", help="checkpoint to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
