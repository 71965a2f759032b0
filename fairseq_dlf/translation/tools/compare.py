"""Compare translation systems: BLEU and chrF with signatures, paired tests, and outputs that loop.

Reads what `fairseq-generate` printed for each system and prints a Markdown
table. Detokenised, lower-cased sacreBLEU and chrF against the raw references and
tokenised BLEU against the T lines stand in columns of their own, each with the
signature that sacrebleu gives it. Below the table stand outputs that loop or are
far longer than their references, with BLEU without their sentences.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fairseq_dlf.command_line import add_version, count, option_names, place, run_command
from fairseq_dlf.core.files.outputs import require_writable
from fairseq_dlf.core.files.replacement import replacing
from fairseq_dlf.translation.bleu.resampling import SEED, TRIALS
from fairseq_dlf.translation.tools.comparison_settings import ScoreSettings, System

PROGRAM = "dlf-compare"
# As a file: print there what would be written.
STANDARD_OUTPUT = Path("-")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    # sacrebleu warns of tokenised input, which is what the tokenised column is.
    logging.getLogger("sacrebleu").setLevel(logging.ERROR)
    return run_command(PROGRAM, partial(run, options), option_names(parser), "stopped; nothing was written")


def run(options: argparse.Namespace) -> None:
    """Compare what the options name, print the table or the figures, and write the figures."""
    # Take seconds, for which --help and mistakes need not wait.
    from fairseq_dlf.translation.tools.comparison import compare
    from fairseq_dlf.translation.tools.report import markdown, to_json

    file = None if options.json == STANDARD_OUTPUT else options.json
    if file is not None:
        require_writable(file, "json")
    settings = ScoreSettings(options.bpe, options.target_lang, options.bootstrap, options.shuffles, options.seed)
    comparison = compare(options.systems, options.baseline, options.references, settings)
    figures = to_json(comparison, options.note)
    print(figures.rstrip() if options.json == STANDARD_OUTPUT else markdown(comparison, options.note))
    if file is not None:
        with replacing(file) as partial_file:
            partial_file.write_text(figures, encoding="utf-8")


def parse_system(text: str) -> System:
    """Read `name=file` or, for several seeds, `name=file1,file2`."""
    name, separator, files = text.partition("=")
    paths = tuple(Path(file) for file in files.split(",") if file)
    if not (name and separator and paths):
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted NAME=FILE or NAME=FILE1,FILE2")
    return System(name, paths)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description=(__doc__ or "").splitlines()[0])
    add_version(parser)
    parser.add_argument(
        "systems",
        nargs="+",
        type=parse_system,
        metavar="NAME=FILE[,FILE…]",
        help="output of fairseq-generate for a system; several files are several training seeds",
    )
    parser.add_argument("--baseline", required=True, metavar="NAME", help="the system to test against")
    parser.add_argument("--references", required=True, type=place, help="raw references, in corpus order")
    parser.add_argument("--bpe", default="@@ ", help="subword mark to remove (default: '@@ '; '' for none)")
    parser.add_argument("--target-lang", default="en", help="language to detokenise for (default: en)")
    parser.add_argument("--note", default="", metavar="TEXT", help="a line to stand under the table, and in the JSON")
    parser.add_argument(
        "--json",
        type=place,
        metavar="FILE",
        help="also write all figures, signatures and flags there; '-' prints them in place of the table",
    )
    parser.add_argument(
        "--shuffles",
        type=count,
        default=TRIALS,
        help=f"of the test that gives p, approximate randomisation (default: {TRIALS})",
    )
    # sacrebleu takes 0 resamples as its default and seed 0 as no seed at all.
    parser.add_argument("--bootstrap", type=count, default=1000, help="resamples of the intervals (default: 1000)")
    parser.add_argument("--seed", type=count, default=SEED, help=f"of both (default: {SEED})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
