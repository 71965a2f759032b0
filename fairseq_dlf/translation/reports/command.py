"""Report what a translation teacher has learnt, and draw training curves.

    dlf-teacher checkpoints/teacher/checkpoint_best.pt --data data/bin --out report
    dlf-teacher --curves warm=warm.log taught=seed1.log,seed2.log --out report

The folder then holds report.md, its figures, and report.html, which has all of it in one file. Teachers are read with
the dictionary of their data-bin alone: no student and no GPU is needed.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Optional

from fairseq_dlf.command_line import add_version, count, option_names, pair, place, run_command
from fairseq_dlf.figures import FORMATS
from fairseq_dlf.translation.reports.named import named_logs, named_teachers

PROGRAM = "dlf-teacher"
TOP = 20


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    # fairseq shows all messages of its process, of which these two have thousands about fonts.
    for chatty in ("matplotlib", "fontTools"):
        logging.getLogger(chatty).setLevel(logging.WARNING)

    def report() -> None:
        # Takes seconds, for which --help need not wait.
        from fairseq_dlf.translation.reports.making import make_report

        make_report(options, TOP)

    return run_command(PROGRAM, report, option_names(parser), "stopped; the report is not complete")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    description, epilog = (__doc__ or "").split("\n\n", 1)
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_version(parser)
    add: Callable[..., argparse.Action] = parser.add_argument
    add(
        "teachers",
        nargs="?",
        type=named_teachers,
        metavar="[NAME=]FILE[,[NAME=]FILE…]",
        help="teachers: checkpoints of dlf_teaching or their .safetensors exports; several are compared, such as seeds",
    )
    add("--data", metavar="DIR", help="the data-bin that the teachers were taught on, for its target dictionary")
    add("--target-lang", metavar="LANG", help="target language (default: that of the data-bin's files)")
    add(
        "--out",
        type=place,
        required=True,
        metavar="DIR",
        help="folder of the report, whose files it replaces",
    )
    add("--words", nargs="+", metavar="WORD", help="types to draw along the run (default: those that move most)")
    add("--top", type=count, metavar="N", help=f"words to list with the lowest and the highest Φ (default: {TOP})")
    add(
        "--bleu",
        type=pair,
        metavar="FROM,TO",
        help="BLEU of the student at the beginning and the end of the run, in points: where Φ depends on it, an "
        "assumption (default: 0,100, all of s_t goes from 0 to 1 together)",
    )
    add(
        "--curves",
        nargs="+",
        type=named_logs,
        metavar="[NAME=]LOG[,LOG…]",
        help="logs of fairseq-train (--log-format json or simple), of teachers or students; logs of one name are seeds",
    )
    add("--format", choices=FORMATS, default="png", help="pdf writes each figure as PDF as well (default: png)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
