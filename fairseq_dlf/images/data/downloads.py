"""Fetches the archives of standard data sets, with checksums."""

import hashlib
import http.client
import logging
import os
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

logger = logging.getLogger(__name__)

TIMEOUT_S = 30.0
_CHUNK = 2**20
_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_CIFAR_MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)


class Archive(NamedTuple):
    """A file to fetch.

    Attributes:
        name: of the file; .tar.gz is unpacked.
        md5: its checksum, in hex, as its authors give it.
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
    """Fetches archives that are not in the folder, checks them and unpacks those of several files.

    Args:
        archives: such as `ARCHIVES["mnist"]`.
        folder: where they go; made where it is missing. A failure leaves no half a file there.

    Raises:
        RuntimeError: no mirror can be reached, a checksum is wrong, or an archive cannot be unpacked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        path = folder / archive.name
        if not path.exists():
            _download(archive, path)
        if path.name.endswith(".tar.gz"):
            _unpack(path, folder)


def _download(archive: Archive, path: Path) -> None:
    part = path.with_name(path.name + ".part")
    try:
        found = _stream(archive, part)
        if found != archive.md5:
            raise RuntimeError(
                f"{archive.name} was fetched, but its MD5 is {found}, not {archive.md5}: the download broke off or "
                "the mirror holds another file; try again, or fetch it by hand"
            )
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _stream(archive: Archive, part: Path) -> str:
    """Writes what the first mirror gives that can be reached; returns its checksum."""
    failures = []
    for mirror in archive.mirrors:
        url = mirror + archive.name
        logger.info(f"fetching {url} into {part.parent}")
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, part.open("wb") as file:
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
            return digest.hexdigest()
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"{url} ({error})")
    raise RuntimeError(
        f"could not fetch {', nor '.join(failures)}: fetch {archive.name} by hand where there is a network, put it "
        f"into {part.parent} and run the same command again"
    )


def _unpack(path: Path, folder: Path) -> None:
    # Aside first: a run that is stopped while unpacking leaves no half a file to be read.
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        try:
            with tarfile.open(path, "r:gz") as archive:
                archive.extractall(aside, filter="data")
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise RuntimeError(f"{path} cannot be unpacked ({error}): delete it and fetch it again") from error
        for made in sorted(Path(aside).rglob("*")):
            target = folder / made.relative_to(aside)
            if made.is_dir():
                target.mkdir(exist_ok=True)
            else:
                os.replace(made, target)
