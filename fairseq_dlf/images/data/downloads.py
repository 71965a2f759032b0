"""Downloads of standard data sets, checked by checksums."""

import hashlib
import http.client
import logging
import os
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fairseq_dlf.core.files.replacement import naming_full_disk, replacing
from fairseq_dlf.core.support.byte_sizes import human_size
from fairseq_dlf.core.support.errors import DiskError, InputError, StateError, brief

logger = logging.getLogger(__name__)

TIMEOUT_S = 30.0
_CHUNK = 2**20
# CIFAR unpacks to 180 MB; a much larger archive is another one.
UNPACKED_BOUND = 2**30
_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_CIFAR_MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)


class Archive(NamedTuple):
    """A file to fetch.

    Attributes:
        name: of the file; a .tar.gz file is unpacked.
        md5: its checksum, in hex, as published by its authors.
        mirrors: URLs of folders that hold it, tried in this order.
    """

    name: str
    md5: str
    mirrors: Sequence[str]


ARCHIVES: Mapping[str, Sequence[Archive]] = {
    "mnist": (
        Archive("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", _MNIST_MIRRORS),
        Archive("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", _MNIST_MIRRORS),
        Archive("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", _MNIST_MIRRORS),
        Archive("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", _MNIST_MIRRORS),
    ),
    "cifar10": (Archive("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", _CIFAR_MIRRORS),),
    "cifar100": (Archive("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", _CIFAR_MIRRORS),),
}


def fetch(archives: Sequence[Archive], folder: Path) -> None:
    """Fetch the archives that the folder lacks, check them, and unpack those of several files.

    Args:
        archives: such as `ARCHIVES["mnist"]`.
        folder: where the files go; it is created if missing. A failure leaves no incomplete file there.

    Raises:
        StateError: no mirror can be reached, a checksum is wrong, or an archive cannot be unpacked.
        DiskError: the disk is full.
        InputError: the folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be a folder ({error.strerror}): name another", setting="data") from error
    for archive in archives:
        path = folder / archive.name
        if not path.exists():
            _download(archive, path)
        if path.name.endswith(".tar.gz"):
            _unpack(path, folder)


def _download(archive: Archive, path: Path) -> None:
    with replacing(path) as part:
        md5 = _stream(archive, part)
        if md5 != archive.md5:
            raise StateError(
                f"{archive.name} was fetched, but its MD5 is {md5}, not {archive.md5}: the download broke off or "
                "the mirror holds another file; try again, or fetch it by hand"
            )


def _stream(archive: Archive, part: Path) -> str:
    """Write the archive from the first mirror that can be reached; return its MD5."""
    failures = []
    for mirror in archive.mirrors:
        url = mirror + archive.name
        logger.info(f"fetching {url} into {part.parent}")
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
                return _written(response, part)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, DiskError):
                raise
            failures.append(f"{url} ({brief(error)})")
    raise StateError(
        f"could not fetch {', nor '.join(failures)}: fetch {archive.name} by hand where there is a network, put it "
        f"into {part.parent} and run the same command again"
    )


def _written(response: http.client.HTTPResponse, part: Path) -> str:
    """Write what a server sends; return its MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    with naming_full_disk(part), part.open("wb") as file:
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
    return digest.hexdigest()


def _unpack(path: Path, folder: Path) -> None:
    # Unpack into another folder first: a run that is stopped meanwhile leaves no incomplete file for a reader.
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        try:
            with naming_full_disk(path), tarfile.open(path, "r:gz") as archive:
                archive.extractall(aside, members=_within_bound(path, archive), filter="data")
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            if isinstance(error, DiskError):
                raise
            raise StateError(f"{path} cannot be unpacked ({brief(error)}): delete it and fetch it again") from error
        for unpacked in sorted(Path(aside).rglob("*")):
            target = folder / unpacked.relative_to(aside)
            if unpacked.is_dir():
                target.mkdir(exist_ok=True)
            else:
                os.replace(unpacked, target)


def _within_bound(path: Path, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members of an archive until their sizes add up to more than the bound.

    Raises:
        StateError: they add up to more.
    """
    total = 0
    for member in archive:
        total += member.size
        if total > UNPACKED_BOUND:
            raise StateError(
                f"{path} unpacks to more than {human_size(UNPACKED_BOUND)}: it is another archive, or damaged; delete "
                "it and fetch it again"
            )
        yield member
