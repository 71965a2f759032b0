"""Paths of what a command writes, checked before the work begins."""

import os
from pathlib import Path

from fairseq_dlf.core.support.errors import InputError


def require_writable(path: Path, setting: str) -> None:
    """Make the folder of a file that will be written, and raise an error if the file cannot be written.

    Args:
        path: the file, which need not exist.
        setting: name of the setting that holds the path.

    Raises:
        InputError: the path is a folder, is below a file, or may not be written to.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a file in it", setting=setting)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"{path.parent} cannot be a folder ({error.strerror}): name another file to write"
        raise InputError(text, setting=setting) from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path.parent} may not be written to: name another file to write", setting=setting)


def make_folder(path: Path, setting: str) -> None:
    """Make a folder, and those above it, unless it is there.

    Args:
        setting: name of the setting that holds the path.

    Raises:
        InputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path} cannot be a folder ({error.strerror}): name another", setting=setting) from error
