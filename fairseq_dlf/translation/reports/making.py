"""From the options of `dlf-teacher` to the report that they ask for."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import fairseq_dlf.translation.plugins  # noqa: F401  First: it makes fairseq quiet, and checkpoints readable.
from fairseq_dlf.core.files.outputs import make_folder
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.figures import labels_of, require_matplotlib
from fairseq_dlf.translation.hooks.launch import refuse_ignored
from fairseq_dlf.translation.reports.curves import System, read_system
from fairseq_dlf.translation.reports.layout import TYPE, layout_of
from fairseq_dlf.translation.reports.named import Named
from fairseq_dlf.translation.reports.report import HTML_NAME, TaughtTeachers, write_report
from fairseq_dlf.translation.reports.taught import TOGETHER, path_of_progress, read_taught
from fairseq_dlf.translation.reports.vocabulary import read_vocabulary

_OF_TEACHERS = ("data", "target_lang", "words", "top", "bleu")


def make_report(options: argparse.Namespace, top: int) -> None:
    """Write the report that the options describe, and say where it is.

    Args:
        top: words to list at either end where the options say nothing.

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
    teachers = _read_teachers(options, top) if options.teachers else None
    page = write_report(options.out, _formats(options.format), teachers, _read_systems(options.curves or ()))
    for warning in page.warnings:
        print(f"warning: {warning}")
    print(f"report: {options.out / HTML_NAME}")


def _read_teachers(options: argparse.Namespace, top: int) -> TaughtTeachers:
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
    return TaughtTeachers(read, vocabulary, bleu, words, options.top or top)


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
