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
from functools import partial
from pathlib import Path
from typing import NamedTuple, Optional

from fairseq_dlf.command_line import count, option_names, pair, place, run_command
from fairseq_dlf.core.files.outputs import make_folder
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.figures import FORMATS, labels_of, require_matplotlib
from fairseq_dlf.translation.hooks.launch import refuse_ignored
from fairseq_dlf.translation.reports.curves import System, read_system
from fairseq_dlf.translation.reports.layout import TYPE, layout_of
from fairseq_dlf.translation.reports.report import HTML_NAME, TaughtTeachers, write_report
from fairseq_dlf.translation.reports.taught import TOGETHER, path_of_progress, read_taught
from fairseq_dlf.translation.reports.vocabulary import read_vocabulary

PROGRAM = "dlf-teacher"
TOP = 20
_OF_TEACHERS = ("data", "target_lang", "words", "top", "bleu")


class Named(NamedTuple):
    """Files under a name; an empty name asks for one made of the path."""

    name: str
    paths: tuple[Path, ...]


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    # fairseq shows all messages of its process, of which these two have thousands about fonts.
    for chatty in ("matplotlib", "fontTools"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return run_command(PROGRAM, partial(run, options), option_names(parser), "stopped; the report is not complete")


def run(options: argparse.Namespace) -> None:
    """Write the report that the options describe, and say where it is.

    Raises:
        MissingFileError, InputError: a file is missing, cannot be used, or an option would be ignored.
        StateError: matplotlib is missing.
    """
    if not options.teachers and not options.curves:
        raise InputError("there is nothing to report: pass teacher files, --curves LOG …, or both")
    for setting in _OF_TEACHERS:
        why = "it is about teachers: pass teacher files as well"
        refuse_ignored(options, setting, not options.teachers, why)
    require_matplotlib()
    make_folder(options.out, "out")
    teachers = _read_teachers(options) if options.teachers else None
    page = write_report(options.out, _formats(options.format), teachers, _read_systems(options.curves or ()))
    for warning in page.warnings:
        print(f"warning: {warning}")
    print(f"report: {options.out / HTML_NAME}")


def _read_teachers(options: argparse.Namespace) -> TaughtTeachers:
    if options.data is None:
        raise InputError("the words of a teacher are those of its data-bin: name it", setting="data")
    vocabulary = read_vocabulary(options.data, options.target_lang)
    bleu = TOGETHER if options.bleu is None else options.bleu
    progress = path_of_progress(bleu)
    named = _labelled(options.teachers, "teacher file")
    read = [read_taught(each.paths[0], each.name, vocabulary, progress) for each in named]
    unread = not any(teacher.reads_progress for teacher in read)
    refuse_ignored(options, "bleu", unread, "Φ of these teachers does not depend on what a student has reached")
    per_type = any(layout_of(teacher.form, len(vocabulary)).unit == TYPE for teacher in read)
    for setting in ("words", "top"):
        refuse_ignored(options, setting, not per_type, "none of these teachers has a coefficient per type")
    words = None if options.words is None else vocabulary.places(options.words)
    return TaughtTeachers(read, vocabulary, bleu, words, options.top or TOP)


def _read_systems(given: Sequence[Named]) -> list[System]:
    return [read_system(each.name, each.paths) for each in _labelled(given, "log")] if given else []


def _labelled(given: Sequence[Named], what: str) -> list[Named]:
    """Return the same files, those without a name under the shortest part of their path that tells them apart.

    Raises:
        InputError: a file or a name comes twice.
    """
    paths = [each.paths[0].with_suffix("") for each in given if not each.name]
    labels = iter(labels_of(_without_common_name(paths), what) if paths else ())
    named = [Named(each.name or next(labels), each.paths) for each in given]
    names = [each.name for each in named]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"the name {twice[0]} is given twice: give each {what} a name of its own, NAME=FILE")
    return named


def _without_common_name(paths: Sequence[Path]) -> list[Path]:
    """Return the folders of several files of one name, such as train.log, else the files."""
    return [path.parent for path in paths] if len(paths) > 1 and len({path.name for path in paths}) == 1 else [*paths]


def _formats(format: str) -> list[str]:
    return ["png"] if format == "png" else ["png", format]


def named_teachers(text: str) -> list[Named]:
    """Read FILE[,FILE…], each perhaps with a name before it, NAME=FILE."""
    return [_named(part, (part,)) for part in _parts(text)]


def named_logs(text: str) -> Named:
    """Read LOG, or NAME=LOG[,LOG…]."""
    found = _named(text, _parts(text))
    if len(found.paths) > 1 and not found.name:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted NAME={text}: logs of several seeds need a name")
    return found


def _named(text: str, parts: Sequence[str]) -> Named:
    """Return parts as paths; a name before the first one ends with '=' and has no slash."""
    name, separator, first = parts[0].partition("=")
    if separator and name and first and "/" not in name:
        return Named(name, (Path(first), *map(Path, parts[1:])))
    return Named("", tuple(map(Path, parts)))


def _parts(text: str) -> list[str]:
    parts = [part for part in text.split(",") if part.strip()]
    if not parts:
        raise argparse.ArgumentTypeError("got an empty name, wanted the path of a file")
    return parts


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    description, epilog = (__doc__ or "").split("\n\n", 1)
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
