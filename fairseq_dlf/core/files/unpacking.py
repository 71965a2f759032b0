"""Gzip files, read up to a bound: a small file may claim to hold gigabytes."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fairseq_dlf.core.support.byte_sizes import human_size
from fairseq_dlf.core.support.errors import InputError, brief

# Compression shrinks text to between a third and a tenth, and a repeated byte to a thousandth.
GROWTH = 30
SMALL, LARGE = 64 * 2**20, 2 * 2**30
_CHUNK = 2**20


class BoundedStream(io.BufferedIOBase):
    """The unpacked bytes of a gzip file, up to a bound.

    Args:
        path: the file.
        stream: the file, opened by `gzip`.
    """

    def __init__(self, path: Path, stream: gzip.GzipFile):
        self.path = path
        self.stream = stream
        self.bound = unpacked_bound(path)
        self.given = 0

    def read(self, size: int | None = _CHUNK, /) -> bytes:
        """Return the next bytes, at most `size`; no bytes at the end.

        Raises:
            InputError: there are more bytes than the bound.
        """
        content = self.stream.read(size)
        self.given += len(content)
        if self.given > self.bound:
            raise InputError(
                f"{self.path} has {human_size(self.path.stat().st_size)} and unpacks to more than "
                f"{human_size(self.bound)}, more than any known data set: fetch it again from a source that you trust, "
                "or unpack it yourself"
            )
        return content


def unpacked_bound(path: Path) -> int:
    """Return how many bytes a gzip file may unpack to: `GROWTH` times its size, but within `SMALL` and `LARGE`."""
    return min(LARGE, max(SMALL, GROWTH * path.stat().st_size))


@contextmanager
def unpacking(path: Path) -> Iterator[BoundedStream]:
    """Open a gzip file.

    Raises:
        InputError: it is empty, damaged or not a gzip file; some damage is only noticed while it is read.
    """
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes), not a gzip file: fetch it again")
    try:
        with gzip.open(path) as stream:
            yield BoundedStream(path, stream)
    except PermissionError as error:
        raise InputError(f"{path} may not be read ({error.strerror}): change its rights, or name another") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is corrupt ({brief(error)}): fetch it again") from error


def read_gzip(path: Path) -> bytes:
    """Return the content of a gzip file.

    Raises:
        InputError: it is empty, damaged or not a gzip file, or unpacks to more than `unpacked_bound`.

    Cost: the unpacked content twice in memory, at most the bound.
    """
    with unpacking(path) as stream:
        return b"".join(iter(stream.read, b""))
