"""Checkpoints of torch on disk: looked over before they are unpacked, and read without running code."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from fairseq_dlf.core.support.errors import InputError, MissingFileError, brief

# What `zipfile` raises for a directory that makes no sense.
_DIRECTORY_ERRORS = (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError)


def read_checkpoint(path: Path, wanted: str) -> Any:
    """Return what a checkpoint holds, its tensors on the CPU.

    Args:
        path: a file that `torch.save` has written.
        wanted: what to pass instead, for the messages: 'a checkpoint of fairseq-train'.

    Raises:
        MissingFileError: there is no such file.
        InputError: the file is damaged, foreign, would take more memory than disk, or holds objects that could
            run code.

    Cost: reads the file twice, and holds it in memory once.
    """
    require_checkpoint(path, wanted)
    _require_checksums(path, wanted)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    # The bytes of a damaged file decide which exception they raise: it may be any.
    except Exception as error:
        raise InputError(
            f"{path} cannot be read: it is damaged, or holds objects that are not safe to load "
            f"({brief(error)}): pass {wanted}"
        ) from error


def require_checkpoint(path: Path, wanted: str) -> None:
    """Raise an error unless a file can be what `torch.save` writes: a zip whose members are stored as they are.

    Only the zip's directory is read, so that a small file which unpacks to gigabytes costs nothing.

    Args:
        path: the file.
        wanted: what to pass instead, for the messages.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is no such zip, or its members are larger than the file.
    """
    if not path.exists():
        raise MissingFileError(f"{path} does not exist: pass {wanted}")
    if not path.is_file():
        raise InputError(f"{path} is not a file: pass {wanted}")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path} is empty, perhaps of a run that was killed while it wrote it: pass {wanted}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except _DIRECTORY_ERRORS as error:
        raise InputError(f"{path} is no checkpoint, or is damaged ({brief(error)}): pass {wanted}") from error
    packed = [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]
    unpacked = sum(member.file_size for member in members)
    if packed or unpacked > size:
        found = f"its member {packed[0]} is compressed" if packed else f"it unpacks to {unpacked:,} bytes"
        raise InputError(
            f"{path} has {size:,} bytes, but {found}: torch.save writes no such file; pass {wanted}",
        )


def _require_checksums(path: Path, wanted: str) -> None:
    """Raise an error where a member is not what its checksum says, which torch's reader does not look at."""
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except (*_DIRECTORY_ERRORS, zlib.error) as error:
        raise InputError(f"{path} cannot be read, it is damaged ({brief(error)}): pass {wanted}") from error
    if wrong is not None:
        raise InputError(f"{path} cannot be read: it is damaged, {wrong} is not what its checksum says: pass {wanted}")
