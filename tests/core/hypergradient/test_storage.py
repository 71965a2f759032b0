"""Storages hold what they are given, in the room that they claim."""

import errno
import mmap
import os
from collections import namedtuple

import pytest
import torch

from fairseq_dlf.core.hypergradient import storage as storage_module
from fairseq_dlf.core.hypergradient.storage import OnDevice, OnDisk, OnHost
from fairseq_dlf.core.support.errors import DiskError, MissingFileError

SLOTS = 3


def record(number):
    return [torch.full((5,), float(number)), torch.full((2, 2), number, dtype=torch.float64), torch.tensor(number)]


SIZE = sum(tensor.nbytes for tensor in record(0))


@pytest.fixture(params=["device", "host", "disk"])
def storage(request, tmp_path):
    makers = {"device": OnDevice, "host": OnHost, "disk": lambda *room: OnDisk(*room, folder=str(tmp_path))}
    made = makers[request.param](SLOTS, SIZE)
    yield made
    made.close()


def test_gives_back_what_was_put(storage):
    for key in (4, 7, 9):
        storage.put(key, record(key))
    storage.drop(7)
    storage.put(11, record(11))
    for key in (11, 9, 4, 9):
        for found, wanted in zip(storage.get(key), record(key), strict=True):
            assert found.dtype == wanted.dtype and torch.equal(found, wanted)


def test_a_record_survives_its_place_being_used_again(storage):
    storage.put(0, record(3))
    kept = storage.get(0)
    storage.drop(0)
    for key in range(1, SLOTS + 1):
        storage.put(key, record(8))
    assert torch.equal(kept[0], record(3)[0])


def test_closing_twice_does_no_harm(storage):
    storage.put(0, record(1))
    storage.close()
    storage.close()
    assert not getattr(storage, "_records", None)
    assert not hasattr(storage, "_map") or storage._map.closed


def test_the_file_has_no_name(tmp_path):
    disk = OnDisk(1000, 10_000, str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    disk.close()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system has no posix_fallocate")
def test_the_room_is_claimed_at_once(tmp_path, monkeypatch):
    claimed = []
    monkeypatch.setattr(os, "posix_fallocate", lambda fd, start, size: claimed.append(size) or os.truncate(fd, size))
    OnDisk(1000, 10_000, str(tmp_path)).close()
    pages = -(-10_000 // mmap.PAGESIZE)
    assert claimed == [1000 * pages * mmap.PAGESIZE]


def refused(code):
    def refuse(fd, offset, size):
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("code", [None, errno.EINVAL, errno.EOPNOTSUPP], ids=["missing", "EINVAL", "EOPNOTSUPP"])
def test_systems_that_cannot_allocate_or_advise_write_zeros(tmp_path, monkeypatch, code):
    if code is None:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
        monkeypatch.delattr(mmap, "MADV_DONTNEED", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fallocate", refused(code), raising=False)
    monkeypatch.setattr(storage_module, "_BLOCK", 1000)
    disk = OnDisk(SLOTS, SIZE, str(tmp_path))
    for key in range(SLOTS):
        disk.put(key, record(key + 2))
    for key in range(SLOTS):
        assert all(torch.equal(*pair) for pair in zip(disk.get(key), record(key + 2), strict=True))
    disk.close()


def test_a_full_disk_is_found_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9 - 10**6, 10**6)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(DiskError, match=r"needs 23\.\d MiB in .*, where 976\.6 KiB are free on the disk.*larger disk"):
        OnDisk(2000, 10_000, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_with_just_enough_room_will_do(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 0, SLOTS * mmap.PAGESIZE)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    disk = OnDisk(SLOTS, SIZE, str(tmp_path))
    disk.put(0, record(1))
    assert torch.equal(disk.get(0)[0], record(1)[0])
    disk.close()


def test_a_disk_that_fills_up_meanwhile_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", refused(errno.ENOSPC), raising=False)
    with pytest.raises(DiskError, match="the trajectory needs.*keep fewer states") as caught:
        OnDisk(20, 10_000, str(tmp_path))
    assert caught.value.setting == "trajectory_folder"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def refuse(**place):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(DiskError, match=r"cannot be kept in .*Permission denied.*name a folder that can be written"):
        OnDisk(1, 1, str(tmp_path))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="none for the trajectory does not exist"):
        OnDisk(1, 1, str(tmp_path / "none"))
