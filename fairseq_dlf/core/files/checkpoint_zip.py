"""Checkpoints of torch on disk, checked before they are unpacked and read without running code."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from fairseq_dlf.core.support.errors import InputError, MissingFileError, brief

# What `zipfile` raises for a damaged directory.
_DIRECTORY_ERRORS = (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError)


def read_checkpoint(path: Path, wanted: str) -> Any:
    """Return what a checkpoint holds, its tensors on the CPU.

    Args:
        path: a file that `torch.save` has written.
        wanted: what to pass instead, for the messages: 'a checkpoint of fairseq-train'.

    Raises:
        MissingFileError: there is no such file.
        InputError: the file is damaged or foreign, would take more memory than disk, or holds objects that could
            run code.

    Cost: reads the file twice, and holds it in memory once.
    """
    require_checkpoint(path, wanted)
    _require_checksums(path, wanted)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    # A damaged file may raise any exception, depending on its bytes.
    except Exception as error:
        raise InputError(
            f"{path} cannot be read: it is damaged, or holds objects that are not safe to load "
            f"({brief(error)}): pass {wanted}"
        ) from error


def require_checkpoint(path: Path, wanted: str) -> None:
    """Raise an error unless a file looks like what `torch.save` writes: a zip with uncompressed members.

    Only the zip's directory is read, so that a small file that would unpack to gigabytes costs nothing.

    Args:
        path: the file.
        wanted: what to pass instead, for the messages.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is not such a zip, or its members are larger than the file.
    """
    if not path.exists():
        raise MissingFileError(f"{path} does not exist: pass {wanted}")
    if not path.is_file():
        raise InputError(f"{path} is not a file: pass {wanted}")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path} is empty, perhaps because a run was killed while it wrote it: pass {wanted}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except _DIRECTORY_ERRORS as error:
        raise InputError(f"{path} is no checkpoint, or is damaged ({brief(error)}): pass {wanted}") from error
    packed = [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]
    unpacked = sum(member.file_size for member in members)
    if packed or unpacked > size:
        trouble = f"its member {packed[0]} is compressed" if packed else f"it unpacks to {unpacked:,} bytes"
        raise InputError(
            f"{path} has {size:,} bytes, but {trouble}: torch.save writes no such file; pass {wanted}",
        )


def _require_checksums(path: Path, wanted: str) -> None:
    """Raise InputError if a member does not fit its checksum, which torch's reader does not compare."""
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except (*_DIRECTORY_ERRORS, zlib.error) as error:
        raise InputError(f"{path} cannot be read, it is damaged ({brief(error)}): pass {wanted}") from error
    if wrong is not None:
        raise InputError(f"{path} cannot be read: it is damaged, {wrong} does not fit its checksum: pass {wanted}")
