"""Checkpoints that are replaced whole: after a kill, a full disk or a power cut the old file is still there."""

import shutil
from pathlib import Path
from typing import Any, BinaryIO, Union

import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager

from fairseq_dlf.core.files.replacement import replacing

_fairseq_save = checkpoint_utils.torch_persistent_save
_fairseq_copy = PathManager.copy


def save_whole_files() -> None:
    """Make fairseq write and copy its checkpoints with the functions below; idempotent."""
    checkpoint_utils.torch_persistent_save = save_whole
    PathManager.copy = staticmethod(copy_whole)


def save_whole(state: Any, filename: Union[str, BinaryIO], async_write: bool = False) -> None:
    """Save a checkpoint, and flush it to the disk before it gets its name.

    Forced by: fairseq's `torch_persistent_save` flushes nothing, and on a full disk leaves a `.tmp` file
    behind without an error.

    Raises:
        DiskError: the disk is full; the old file is whole.
    """
    if async_write or not isinstance(filename, str) or not PathManager.supports_rename(filename):
        _fairseq_save(state, filename, async_write)
        return
    with replacing(Path(filename)) as partial:
        torch.save(state, partial)


def copy_whole(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
    """Copy to a file beside the target, then rename it; return whether the target is a copy now.

    Forced by: fairseq's `save_checkpoint` overwrites `checkpoint_best.pt` and `checkpoint_last.pt` in
    place, so that a kill leaves an empty file from which no run can continue.

    Raises:
        DiskError: the disk is full; the old file is whole.
    """
    if not all(PathManager.supports_rename(path) for path in (src_path, dst_path)):
        return bool(_fairseq_copy(src_path, dst_path, overwrite))
    if Path(dst_path).exists() and not overwrite:
        return False
    with replacing(Path(dst_path)) as partial:
        shutil.copyfile(src_path, partial)
    return True
