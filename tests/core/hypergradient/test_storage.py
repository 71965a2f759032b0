"""Storages hold what they are given, in the room that they have asked for."""

import os
from collections import namedtuple

import pytest
import torch

from fairseq_dlf.core.hypergradient.storage import OnDevice, OnDisk, OnHost

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


def test_the_file_has_no_name_and_the_wanted_size(tmp_path):
    before = set(os.listdir("/proc/self/fd"))
    disk = OnDisk(1000, 10_000, str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    opened = [f"/proc/self/fd/{fd}" for fd in set(os.listdir("/proc/self/fd")) - before]
    sizes = [os.stat(name).st_blocks * 512 for name in opened if os.path.exists(name)]
    assert max(sizes) >= 1000 * 10_000
    disk.close()


def test_a_full_disk_is_found_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9 - 10**6, 10**6)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match="needs 0.02 GiB.*0.00 GiB are free; nothing was written.*larger disk"):
        OnDisk(2000, 10_000, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_meanwhile_is_named(tmp_path, monkeypatch):
    def full(fd, offset, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match="the trajectory needs.*keep fewer states"):
        OnDisk(20, 10_000, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none for the trajectory does not exist"):
        OnDisk(1, 1, str(tmp_path / "none"))
