"""Files and folders that are replaced whole or not at all."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from fairseq_dlf.core.files import replacement
from fairseq_dlf.core.files.replacement import naming_full_disk, replacing, replacing_folder
from fairseq_dlf.core.support.errors import DiskError, StateError

FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 10816 vs 10736"),
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    return path


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "a").write_text("old")
    return path


def names(path):
    return sorted(each.name for each in path.iterdir())


# Files ----------------------------------------------------------------------------


def test_a_file_is_replaced_at_the_end_only(file, tmp_path):
    with replacing(file) as partial:
        partial.write_text("new")
        assert file.read_text() == "old" and partial.parent == tmp_path
    assert file.read_text() == "new" and names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("bad"), OSError(errno.EIO, "Input/output error")])
def test_a_failure_leaves_the_old_file_and_is_raised_as_it_is(file, tmp_path, error):
    with pytest.raises(type(error)) as found, replacing(file) as partial:
        partial.write_text("half")
        raise error
    assert found.value is error
    assert file.read_text() == "old" and names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", FULL)
def test_a_full_disk_is_named_and_leaves_the_old_file(file, tmp_path, monkeypatch, error):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 100, 0))
    words = "the disk is full: .*file could not be written, .*free some space"
    with pytest.raises(DiskError, match=words) as found, replacing(file) as partial:
        partial.write_text("half")
        raise error
    assert found.value.__cause__ is error
    assert file.read_text() == "old" and names(tmp_path) == ["file"]


def test_a_fault_with_room_on_the_disk_is_no_full_disk(file):
    with pytest.raises(RuntimeError, match="unexpected pos") as found, replacing(file):
        raise FULL[2]
    assert not isinstance(found.value, DiskError)


@pytest.mark.parametrize("inner", [DiskError("the disk is full: another file"), StateError("the download broke off")])
def test_what_is_named_already_keeps_its_name(file, monkeypatch, inner):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 100, 0))
    with pytest.raises(type(inner)) as found, replacing(file):
        raise inner
    assert found.value is inner


def test_the_content_is_on_the_disk_before_the_name_and_the_name_after(file, tmp_path, monkeypatch):
    """A machine that loses its power keeps the old file or the new one, never an empty one."""
    seen = []
    plain = os.replace
    monkeypatch.setattr(replacement, "_flush_one", lambda path: seen.append(("flush", Path(path).name)))
    monkeypatch.setattr(os, "replace", lambda old, new: (seen.append(("replace", Path(new).name)), plain(old, new)))
    with replacing(file) as partial:
        partial.write_text("new")
    assert seen == [("flush", "file.tmp"), ("replace", "file"), ("flush", tmp_path.name)]


def test_a_failure_of_the_last_step_leaves_the_old_file(file, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(DiskError), replacing(file) as partial:
        partial.write_text("new")
    assert file.read_text() == "old" and names(tmp_path) == ["file"]


def test_appending_to_a_full_disk_is_named(file):
    for error in FULL[:2]:
        with pytest.raises(DiskError, match="the disk is full: .*file could not be written"), naming_full_disk(file):
            raise error
    with pytest.raises(FileNotFoundError), naming_full_disk(file):
        (file.parent / "nowhere").read_text()


# Folders --------------------------------------------------------------------------


def test_a_folder_is_replaced_with_all_that_is_in_it(folder, tmp_path):
    with replacing_folder(folder) as partial:
        (partial / "inner").mkdir()
        (partial / "inner" / "b").write_text("new")
        assert names(folder) == ["a"]
    assert names(folder) == ["inner"] and (folder / "inner" / "b").read_text() == "new"
    assert names(tmp_path) == ["folder"]


def test_a_folder_is_made_below_folders_that_are_not_there(tmp_path):
    with replacing_folder(tmp_path / "x" / "y") as partial:
        (partial / "b").write_text("new")
    assert (tmp_path / "x" / "y" / "b").read_text() == "new"


def test_what_an_earlier_failure_left_is_not_taken_over(folder, tmp_path):
    (tmp_path / "folder.tmp").mkdir()
    (tmp_path / "folder.tmp" / "rest").touch()
    with replacing_folder(folder) as partial:
        assert names(partial) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), *FULL[:2]])
def test_a_failure_leaves_the_old_folder(folder, tmp_path, error):
    wanted = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else DiskError
    with pytest.raises(wanted), replacing_folder(folder) as partial:
        (partial / "b").write_text("half")
        raise error
    assert names(folder) == ["a"] and (folder / "a").read_text() == "old" and names(tmp_path) == ["folder"]


@pytest.mark.parametrize(("free", "full"), [(replacement._LITTLE - 1, True), (replacement._LITTLE, False)])
def test_little_room_makes_a_fault_of_torch_a_full_disk(file, monkeypatch, free, full):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, free))
    with pytest.raises(RuntimeError if not full else DiskError), replacing(file):
        raise FULL[2]


def test_a_folder_is_flushed_with_all_that_is_in_it(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("c")
    seen = []
    monkeypatch.setattr(replacement, "_flush_one", lambda path: seen.append(path.name))
    replacement.flush(tmp_path / "a")
    assert sorted(seen[:-1]) == ["b", "c"] and seen[-1] == "a"
