"""CIFAR-10 and CIFAR-100 from their binary versions."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fairseq_dlf.core.files.fields import read_text
from fairseq_dlf.core.support.errors import InputError, MissingFileError

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class CifarFiles:
    """How a binary version is laid out.

    Attributes:
        subfolder: what the archive unpacks to; files are looked for here and beside it.
        splits: names of files by split.
        label_bytes: bytes before the pixels of a record; the last one is the label.
        names_file: class names, one per line.
        class_names: names to use where that file is missing.
    """

    subfolder: str
    splits: dict[str, tuple[str, ...]]
    label_bytes: int
    names_file: str
    class_names: tuple[str, ...]


CIFAR_FILES = {
    "cifar10": CifarFiles(
        subfolder="cifar-10-batches-bin",
        splits={"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)},
        label_bytes=1,
        names_file="batches.meta.txt",
        class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    "cifar100": CifarFiles(
        subfolder="cifar-100-binary",
        splits={"train": ("train.bin",), "test": ("test.bin",)},
        label_bytes=2,
        names_file="fine_label_names.txt",
        class_names=tuple(f"class {number}" for number in range(100)),
    ),
}


def read_cifar(folder: Path, name: str, split: str) -> tuple[Tensor, Tensor]:
    """Read a split of CIFAR.

    Nothing in the format tells the train files from the test file, so swapped files are not noticed.

    Args:
        folder: holds the files or the folder that the archive unpacks to.
        name: 'cifar10' or 'cifar100'; of the latter the fine labels are used.
        split: 'train' or 'test'.

    Returns:
        Pixels (n, 3, 32, 32), uint8, and labels (n,), int64.

    Raises:
        MissingFileError: a file is missing.
        InputError: a file is empty, truncated or of another kind.
    """
    files = CIFAR_FILES[name]
    paths = [_find(folder, name, file) for file in files.splits[split]]
    records = torch.from_numpy(np.concatenate([_records(path, files.label_bytes) for path in paths]))
    pixels = records[:, files.label_bytes :].unflatten(1, _SHAPE)
    return pixels, records[:, files.label_bytes - 1].long()


def cifar_class_names(folder: Path, name: str) -> tuple[str, ...]:
    """Return the names of the classes, from the file beside the images or, without one, from `CIFAR_FILES`.

    Raises:
        InputError: the file is damaged, or does not have one name per class.
    """
    files = CIFAR_FILES[name]
    try:
        path = _find(folder, name, files.names_file)
    except MissingFileError:
        return files.class_names
    names = tuple(line.strip() for line in read_text(path, "delete it, or fetch it again").splitlines() if line.strip())
    if len(names) != len(files.class_names):
        raise InputError(
            f"{path} has {len(names)} class names, but {name} has {len(files.class_names)} classes: "
            "delete it, or fetch it again"
        )
    return names


def _find(folder: Path, name: str, file: str) -> Path:
    subfolder = folder / CIFAR_FILES[name].subfolder
    for path in (folder / file, subfolder / file):
        if path.is_file():
            return path
    raise MissingFileError(
        f"there is no {file} in {folder} or {subfolder}: put the files of the binary version of {name} there, or "
        "have them fetched",
        setting="download",
    )


def _records(path: Path, label_bytes: int) -> np.ndarray:
    """Read a file's records, (n, label_bytes + 3072), uint8."""
    content, record = np.fromfile(path, np.uint8), label_bytes + _PIXELS
    if len(content) % record or not len(content):
        raise InputError(
            f"{path} has {len(content):,} bytes, which is no multiple of the {record:,} bytes of an image: it is "
            "empty, truncated or of another data set; delete it and fetch it again"
        )
    return content.reshape(-1, record)
