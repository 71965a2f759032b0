"""Where kept student states lie: on the device, on the host, on disk."""

import errno
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from typing import IO, Protocol

import torch
from torch import Tensor

from fairseq_dlf.core.support.byte_sizes import human_size
from fairseq_dlf.core.support.errors import DiskError, MissingFileError

Record = Sequence[Tensor]

_SETTING = "trajectory_folder"
_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_NOT_SUPPORTED = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}
_BLOCK = 2**24


class Storage(Protocol):
    """Holds records, tuples of tensors that have the same shapes for every key."""

    def put(self, key: int, record: Record) -> None:
        """Keep a record; its tensors must not be changed afterwards."""

    def get(self, key: int) -> Record:
        """Return the record of a key, on the device that it came from."""

    def drop(self, key: int) -> None:
        """Forget a record, so that its place can be used again."""

    def close(self) -> None:
        """Free everything; may be called twice."""


# Makes a storage with room for a number of records of a given number of bytes.
StorageMaker = Callable[[int, int], Storage]


class OnDevice:
    """Records stay where they are. Cost: their size in the device's memory, no copies."""

    def __init__(self, slots: int = 0, record_bytes: int = 0):
        self._records: dict[int, Record] = {}

    def put(self, key: int, record: Record) -> None:
        self._records[key] = record

    def get(self, key: int) -> Record:
        return self._records[key]

    def drop(self, key: int) -> None:
        del self._records[key]

    def close(self) -> None:
        self._records.clear()


class OnHost:
    """Records of a GPU in pinned memory of the host, copied beside the computation.

    For tensors that are on the host already this is `OnDevice`. Fetching a record starts
    the copy of the newest one below it, the next that a reverse pass wants.

    Cost: the records' size in pinned host memory, and of two records on the device.
    """

    def __init__(self, slots: int = 0, record_bytes: int = 0):
        self._records: dict[int, Record] = {}
        self._devices: list[torch.device] = []
        self._stream: torch.cuda.Stream | None = None
        self._spare: list[Record] = []
        self._ahead: tuple[int, Record] | None = None

    def put(self, key: int, record: Record) -> None:
        self._devices = [tensor.device for tensor in record]
        stream = self._copies()
        if stream is None:
            self._records[key] = record
            return
        kept = self._spare.pop() if self._spare else [_pinned_like(tensor) for tensor in record]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for place, tensor in zip(kept, record, strict=True):
                place.copy_(tensor, non_blocking=True)
                if tensor.is_cuda:
                    # Its memory must not be given away before the copy has read it.
                    tensor.record_stream(stream)
        self._records[key] = kept

    def get(self, key: int) -> Record:
        stream = self._copies()
        if stream is None:
            return self._records[key]
        found = self._ahead[1] if self._ahead is not None and self._ahead[0] == key else self._fetch(key, stream)
        torch.cuda.current_stream().wait_stream(stream)
        for tensor in found:
            if tensor.is_cuda:
                tensor.record_stream(torch.cuda.current_stream())
        below = max((other for other in self._records if other < key), default=None)
        self._ahead = None if below is None else (below, self._fetch(below, stream))
        return found

    def drop(self, key: int) -> None:
        record = self._records.pop(key)
        if self._stream is not None:
            # The side stream runs in order: a copy into this place waits for the one out of it.
            self._spare.append(record)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.synchronize()
        self._records.clear()
        self._spare.clear()
        self._ahead = None

    def _copies(self) -> "torch.cuda.Stream | None":
        on_gpu = [device for device in self._devices if device.type == "cuda"]
        if on_gpu and self._stream is None:
            self._stream = torch.cuda.Stream(on_gpu[0])
        return self._stream

    def _fetch(self, key: int, stream: "torch.cuda.Stream") -> Record:
        with torch.cuda.stream(stream):
            places = zip(self._records[key], self._devices, strict=True)
            return [tensor.to(device, non_blocking=True) for tensor, device in places]


def _pinned_like(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)


class OnDisk:
    """Records in a memory-mapped file without a name, allocated at once.

    The file has no name, so that also a killed process leaves nothing behind.

    Args:
        slots: how many records there will be at a time.
        record_bytes: the size of one.
        folder: where the file lies.

    Raises:
        MissingFileError: the folder does not exist.
        DiskError: the folder has too little room, or cannot be written.

    Cost: slots · record_bytes of disk; pages that the system keeps in memory are freed as it needs them.
    """

    def __init__(self, slots: int, record_bytes: int, folder: str):
        size = max(1, slots * _aligned(record_bytes))
        self._stride = _aligned(record_bytes)
        self._free = list(range(slots - 1, -1, -1))
        self._places: dict[int, int] = {}
        self._shapes: list[tuple[torch.Size, torch.dtype, torch.device]] = []
        _require_room(folder, size)
        self._map = _mapped(folder, size)

    def put(self, key: int, record: Record) -> None:
        self._shapes = [(tensor.shape, tensor.dtype, tensor.device) for tensor in record]
        place = self._free.pop()
        self._places[key] = place
        for view, tensor in zip(self._views(place), record, strict=True):
            view.copy_(tensor)
        self._release(place)

    def get(self, key: int) -> Record:
        place = self._places[key]
        views = zip(self._views(place), self._shapes, strict=True)
        # Cloned: the place may be written again while the record is in use.
        record = [view.to(device, copy=True) for view, (_, _, device) in views]
        self._release(place)
        return record

    def drop(self, key: int) -> None:
        self._free.append(self._places.pop(key))

    def close(self) -> None:
        self._places.clear()
        if not self._map.closed:
            self._map.close()

    def _views(self, place: int) -> list[Tensor]:
        views, offset = [], place * self._stride
        for shape, dtype, _ in self._shapes:
            count = shape.numel()
            views.append(torch.frombuffer(self._map, dtype=dtype, count=count, offset=offset).view(shape))
            offset += count * dtype.itemsize
        return views

    def _release(self, place: int) -> None:
        """Take a record's pages out of this process, which would otherwise seem to grow by the whole file."""
        # Not every system has it, and it saves appearances alone.
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, place * self._stride, self._stride)


def _aligned(size: int) -> int:
    return -(-max(1, size) // mmap.PAGESIZE) * mmap.PAGESIZE


def _require_room(folder: str, size: int) -> None:
    if not os.path.isdir(folder):
        raise MissingFileError(
            f"the folder {folder} for the trajectory does not exist: make it, or name another", setting=_SETTING
        )
    if shutil.disk_usage(folder).free < size:
        raise _full(folder, size)


def _mapped(folder: str, size: int) -> mmap.mmap:
    """Map a file without a name whose room on the disk is its own."""
    try:
        with tempfile.TemporaryFile(dir=folder, prefix="trajectory-") as file:
            _allocate(file, size)
            return mmap.mmap(file.fileno(), size)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _full(folder, size) from error
        raise DiskError(
            f"the trajectory cannot be kept in {folder} ({error.strerror or error}): name a folder that can be written",
            setting=_SETTING,
        ) from error


def _allocate(file: IO[bytes], size: int) -> None:
    """Claim the room of a file now: a write to a hole of a full disk would end the process by a signal."""
    try:
        # Not on macOS and Windows, nor on every file system.
        os.posix_fallocate(file.fileno(), 0, size)
        return
    except AttributeError:
        pass
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise
    for start in range(0, size, _BLOCK):
        file.write(bytes(min(_BLOCK, size - start)))
    file.flush()


def _full(folder: str, size: int) -> DiskError:
    free = shutil.disk_usage(folder).free
    return DiskError(
        f"the trajectory needs {human_size(size)} in {folder}, where {human_size(free)} are free on the disk; nothing "
        "is kept: name a folder on a larger disk, keep fewer states, or shorten the episode",
        setting=_SETTING,
    )
