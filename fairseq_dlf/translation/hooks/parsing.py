"""The command line of fairseq before anything is loaded: its help, and files that are not there."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, Optional

from fairseq import options

from fairseq_dlf.core.support.errors import MissingFileError

_fairseq_parse = options.parse_args_and_arch
HELP = ("-h", "--help")


def watch_parsing() -> None:
    """Make fairseq's commands parse their options with the function below; idempotent."""
    options.parse_args_and_arch = parse


def parse(parser: argparse.ArgumentParser, input_args: Optional[Sequence[str]] = None, **passed_on: Any) -> Any:
    """Parse like fairseq, but show all options for --help, and miss a teacher before anything is loaded.

    Forced by: fairseq shows its help before it adds the options of task, model and criterion; a criterion first reads
    its files when training begins.

    Raises:
        MissingFileError: `--teacher` of this process's command line names no file.
    """
    words = list(sys.argv[1:] if input_args is None else input_args)
    if any(word in HELP for word in words):
        _show_help(parser, [word for word in words if word not in HELP], **passed_on)
    parsed = _fairseq_parse(parser, input_args=input_args, **passed_on)
    teacher = getattr(parsed, "teacher", None)
    # Words that are given were not typed now; neither are the options of a checkpoint, which are not parsed.
    if input_args is None and teacher and not Path(teacher).is_file():
        raise MissingFileError(f"--teacher {teacher} does not exist: train one with --task dlf_teaching")
    return parsed


def _show_help(parser: argparse.ArgumentParser, words: Sequence[str], **passed_on: Any) -> NoReturn:
    def show(*_: Any, **__: Any) -> NoReturn:
        parser.print_help()
        parser.exit()

    # fairseq parses twice: what is chosen, leniently, and then everything, with the options of what was chosen.
    parser.parse_args = show  # type: ignore[method-assign]
    _fairseq_parse(parser, input_args=list(words), **passed_on)
    raise AssertionError("fairseq has parsed its options without parse_args")
