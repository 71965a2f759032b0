"""MNIST from IDX files, the format of its authors."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

# The magic number of unsigned bytes; the number of dimensions is added to it.
_UNSIGNED_BYTES = 0x0800
_PREFIXES = {"train": "train", "test": "t10k"}


def read_mnist(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """Reads a split of MNIST, or of a data set in its form.

    Args:
        folder: holds train-images-idx3-ubyte and so on, plain or as .gz; also with a dot before idx.
        split: 'train' or 'test'.

    Returns:
        Pixels (n, 1, height, width), uint8, and labels (n,), int64.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged or of another kind, or images and labels differ in number.
    """
    images_path, labels_path = (_find(folder, f"{_PREFIXES[split]}-{part}") for part in ("images-idx3", "labels-idx1"))
    images, labels = read_idx(images_path, dimensions=3), read_idx(labels_path, dimensions=1)
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} holds {len(images):,} images, but {labels_path} {len(labels):,} labels: "
            "pass files of one data set"
        )
    return images.unsqueeze(1), labels.long()


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Reads an IDX file of unsigned bytes.

    Args:
        path: the file; one that ends in .gz is decompressed.
        dimensions: wanted ones, 3 for images and 1 for labels.

    Returns:
        As many dimensions, uint8.

    Raises:
        ValueError: the file is truncated, damaged or of another kind.
    """
    content = _content(path)
    magic, wanted = int.from_bytes(content[:4], "big"), _UNSIGNED_BYTES + dimensions
    if magic != wanted:
        raise ValueError(
            f"{path} begins with the magic number {magic}, but an IDX file of bytes in {dimensions} dimensions with "
            f"{wanted}: images and labels may be swapped, or a .gz file lacks its ending"
        )
    header = 4 * (1 + dimensions)
    shape = [int.from_bytes(content[place : place + 4], "big") for place in range(4, header, 4)]
    size = header + math.prod(shape)
    if len(content) != size:
        raise ValueError(
            f"{path} has {len(content):,} bytes, but {size:,} by its header: it is truncated or damaged; "
            "delete it and fetch it again"
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).reshape(shape))


def _find(folder: Path, name: str) -> Path:
    names = [f"{stem}-ubyte{ending}" for stem in (name, name.replace("-idx", ".idx")) for ending in (".gz", "")]
    for path in (folder / name for name in names):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"there is none of {', '.join(names)} in {folder}: pass --download to fetch MNIST, or put its four files there"
    )


def _content(path: Path) -> bytearray:
    """The bytes of a file; an array, since tensors are made from writable memory."""
    content = path.read_bytes()
    if path.suffix != ".gz":
        return bytearray(content)
    try:
        return bytearray(gzip.decompress(content))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is truncated or no gzip file ({error}): delete it and fetch it again") from error
