"""Files and folders that are replaced whole or not at all, even if the machine loses power."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fairseq_dlf.core.support.errors import DiskError, UserError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# Torch's writer replaces the system's error by one without a number: with less free space than this it is a full disk.
_LITTLE = 2**20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path for a file that will take the place of `path` at the end; a failure leaves the old file unchanged.

    Raises:
        DiskError: the disk is full.

    Cost: the file and its folder are flushed to the disk, which takes some milliseconds.
    """
    partial = path.with_name(path.name + ".tmp")
    try:
        with naming_full_disk(path):
            yield partial
            flush(partial)
            os.replace(partial, path)
            _flush_one(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that will take the place of `path` at the end; a failure leaves the old one unchanged.

    Raises:
        DiskError: the disk is full.
    """
    partial = path.with_name(path.name + ".tmp")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with naming_full_disk(path):
            partial.mkdir(parents=True)
            yield partial
            flush(partial)
            shutil.rmtree(path, ignore_errors=True)
            os.replace(partial, path)
            _flush_one(path.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Turn the error of a full disk into a DiskError.

    Args:
        path: the file that is written meanwhile, perhaps in place, such as by appending; its folder must exist.

    Raises:
        DiskError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        if _is_full(error, path):
            raise DiskError(_full(path)) from error
        raise


def flush(path: Path) -> None:
    """Make the system write a file, or a folder with everything in it, to the disk."""
    for inner in path.rglob("*") if path.is_dir() else ():
        _flush_one(inner)
    _flush_one(path)


def _flush_one(path: Path) -> None:
    """Make the system write a file, or the list of names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_full(error: BaseException, path: Path) -> bool:
    if isinstance(error, UserError):
        return False
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return isinstance(error, RuntimeError) and shutil.disk_usage(path.parent).free < _LITTLE


def _full(path: Path) -> str:
    return (
        f"the disk is full: {path} could not be written, its earlier content is whole; free some space and run "
        "the same command again"
    )
