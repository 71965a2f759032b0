"""Gzip files, read up to a bound: a small file may claim to hold gigabytes."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fairseq_dlf.core.support.byte_sizes import human_size
from fairseq_dlf.core.support.errors import InputError, brief

# Text shrinks to a third or a tenth, one byte that is repeated to a thousandth.
GROWTH = 30
SMALL, LARGE = 64 * 2**20, 2 * 2**30
_CHUNK = 2**20


class BoundedStream(io.BufferedIOBase):
    """The unpacked bytes of a gzip file, of which no more than a bound are given.

    Args:
        path: the file.
        stream: it, opened by `gzip`.
    """

    def __init__(self, path: Path, stream: gzip.GzipFile):
        self.path = path
        self.stream = stream
        self.bound = unpacked_bound(path)
        self.given = 0

    def read(self, size: int | None = _CHUNK, /) -> bytes:
        """Return the next bytes, at most `size`; none at the end.

        Raises:
            InputError: there are more than the bound.
        """
        content = self.stream.read(size)
        self.given += len(content)
        if self.given > self.bound:
            raise InputError(
                f"{self.path} has {human_size(self.path.stat().st_size)} and unpacks to more than "
                f"{human_size(self.bound)}: no such data set is known; fetch it again from a source that you trust, "
                "or unpack it yourself"
            )
        return content


def unpacked_bound(path: Path) -> int:
    """Return how many bytes a gzip file may unpack to: `GROWTH` times its own, but within `SMALL` and `LARGE`."""
    return min(LARGE, max(SMALL, GROWTH * path.stat().st_size))


@contextmanager
def unpacking(path: Path) -> Iterator[BoundedStream]:
    """Open a gzip file.

    Raises:
        InputError: it is empty, damaged or no gzip file, which may be found while it is read.
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
    """Return what a gzip file holds.

    Raises:
        InputError: it is empty, damaged or no gzip file, or unpacks to more than `unpacked_bound`.

    Cost: the unpacked content twice in memory, the bound at most.
    """
    with unpacking(path) as stream:
        return b"".join(iter(stream.read, b""))
