"""Checkpoints are replaced whole, whenever the writing ends."""

import shutil

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager

from fairseq_dlf.core.support.errors import DiskError
from fairseq_dlf.translation.hooks import saving


def test_fairseq_writes_and_copies_by_our_functions():
    saving.save_whole_files()
    assert checkpoint_utils.torch_persistent_save is saving.save_whole
    assert checkpoint_utils.PathManager.copy is saving.copy_whole


def test_a_copy_takes_the_place_of_the_old_file(tmp_path):
    (tmp_path / "checkpoint_1_2.pt").write_bytes(b"new")
    (tmp_path / "checkpoint_last.pt").write_bytes(b"old")
    source, target = str(tmp_path / "checkpoint_1_2.pt"), str(tmp_path / "checkpoint_last.pt")
    assert not PathManager.copy(source, target)
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == b"old"
    assert PathManager.copy(source, target, overwrite=True)
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 2


class Killed(BaseException):
    pass


@pytest.mark.parametrize("written", [0, 3])
def test_a_copy_that_dies_half_way_leaves_the_old_file(tmp_path, monkeypatch, written):
    def dies(source, target):
        target.write_bytes(source.encode()[:written])
        raise Killed

    (tmp_path / "checkpoint_last.pt").write_bytes(b"old")
    monkeypatch.setattr(shutil, "copyfile", dies)
    with pytest.raises(Killed):
        PathManager.copy("whatever", str(tmp_path / "checkpoint_last.pt"), overwrite=True)
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == b"old"


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint_last.pt"
    checkpoint_utils.torch_persistent_save({"model": torch.ones(2)}, str(path))
    before = path.read_bytes()

    def full(state, partial):
        partial.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DiskError, match="the disk is full: .*checkpoint_last.pt"):
        checkpoint_utils.torch_persistent_save({}, str(path))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint_last.pt"]


def test_open_files_are_written_as_fairseq_writes_them(tmp_path):
    with (tmp_path / "state.pt").open("wb") as file:
        checkpoint_utils._torch_persistent_save({"a": 1}, file)
    assert torch.load(tmp_path / "state.pt", weights_only=True) == {"a": 1}
