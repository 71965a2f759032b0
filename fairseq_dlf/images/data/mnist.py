"""MNIST from IDX files, the format of its authors."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fairseq_dlf.core.files.unpacking import LARGE, unpacking
from fairseq_dlf.core.support.byte_sizes import human_size
from fairseq_dlf.core.support.errors import InputError, MissingFileError

# The magic number of unsigned bytes; the number of dimensions is added to it.
_UNSIGNED_BYTES = 0x0800
_CHUNK = 2**20
_PREFIXES = {"train": "train", "test": "t10k"}


def read_mnist(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """Read a split of MNIST, or of a data set in the same format.

    Args:
        folder: holds train-images-idx3-ubyte and so on, plain or as .gz; a dot before idx is accepted.
        split: 'train' or 'test'.

    Returns:
        Pixels (n, 1, height, width), uint8, and labels (n,), int64.

    Raises:
        MissingFileError: a file is missing.
        InputError: a file is damaged or of another kind, or the numbers of images and labels differ.
    """
    images_path, labels_path = (_find(folder, f"{_PREFIXES[split]}-{part}") for part in ("images-idx3", "labels-idx1"))
    images, labels = read_idx(images_path, dimensions=3), read_idx(labels_path, dimensions=1)
    if len(images) != len(labels):
        raise InputError(
            f"{images_path} holds {len(images):,} images, but {labels_path} {len(labels):,} labels: "
            "pass files of one data set"
        )
    if 1 in images.shape[1:]:
        height, width = images.shape[1:]
        raise InputError(
            f"{images_path} holds images of {height} x {width} pixels, rows or columns and no images: write them in "
            "their height and width, such as 28 x 28"
        )
    return images.unsqueeze(1), labels.long()


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Read an IDX file of unsigned bytes.

    Args:
        path: the file; one that ends in .gz is decompressed.
        dimensions: how many the file must have: 3 for images, 1 for labels.

    Returns:
        A tensor of that many dimensions, uint8.

    Raises:
        InputError: the file is truncated, damaged or of another kind, or larger than any known data set.

    Cost: the size that the header states, twice if the file is compressed; never more.
    """
    if path.suffix == ".gz":
        with unpacking(path) as packed:
            return _idx(path, dimensions, packed.read)
    with path.open("rb") as plain:
        return _idx(path, dimensions, plain.read)


def _idx(path: Path, dimensions: int, read: Callable[[int], bytes]) -> Tensor:
    """Read an IDX file from a stream, and no more of it than its header states."""
    header = 4 * (1 + dimensions)
    content = bytearray(read(header))
    magic, wanted = int.from_bytes(content[:4], "big"), _UNSIGNED_BYTES + dimensions
    if magic != wanted:
        raise InputError(
            f"{path} begins with the magic number {magic}, but an IDX file of bytes in {dimensions} dimensions with "
            f"{wanted}: images and labels may be swapped, or a .gz file lacks its ending"
        )
    shape = [int.from_bytes(content[place : place + 4], "big") for place in range(4, header, 4)]
    size = header + math.prod(shape)
    if size > LARGE:
        raise InputError(
            f"{path} has {human_size(size)} by its header, more than the {human_size(LARGE)} that are read: it is "
            "damaged; delete it and fetch it again"
        )
    while len(content) <= size and (more := read(min(_CHUNK, size + 1 - len(content)))):
        content += more
    if len(content) != size:
        length = f"{len(content):,} bytes" if len(content) < size else "more bytes than that"
        raise InputError(
            f"{path} has {length}, but {size:,} by its header: it is truncated or damaged; delete it and fetch it again"
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).reshape(shape))


def _find(folder: Path, name: str) -> Path:
    names = [f"{stem}-ubyte{ending}" for stem in (name, name.replace("-idx", ".idx")) for ending in (".gz", "")]
    for path in (folder / name for name in names):
        if path.is_file():
            return path
    raise MissingFileError(
        f"found none of {', '.join(names)} in {folder}: put the four files of MNIST there, or have them fetched",
        setting="download",
    )
