"""Exports beside a run's checkpoints: what is written, and what goes with a checkpoint that is removed."""

import os

import pytest

from fairseq_dlf.translation.teachers import exports


@pytest.fixture
def exported(monkeypatch):
    """The names of the checkpoints that are exported; nothing is read or written."""
    names = []
    monkeypatch.setattr(exports, "export_checkpoint", lambda path: names.append(path.name))
    return names


def file(folder, name, time_s):
    path = folder / name
    path.touch()
    os.utime(path, (time_s, time_s))


def test_a_checkpoint_and_its_copies_are_exported(tmp_path, exported):
    for name in ("checkpoint3.pt", "checkpoint_best.pt", "checkpoint_last.pt", "checkpoint2.pt"):
        file(tmp_path, name, 10)
    exports.export_saved(tmp_path / "checkpoint3.pt")
    assert exported == ["checkpoint3.pt", "checkpoint_best.pt", "checkpoint_last.pt"]


def test_a_copy_that_is_missing_or_not_newer_than_its_export_is_passed_by(tmp_path, exported):
    file(tmp_path, "checkpoint_best.pt", 10)
    file(tmp_path, "checkpoint_best.safetensors", 11)
    file(tmp_path, "checkpoint_last.pt", 12)
    file(tmp_path, "checkpoint_last.safetensors", 11)
    exports.export_saved(tmp_path / "checkpoint3.pt")
    assert exported == ["checkpoint_last.pt"]


def test_exports_of_checkpoints_that_fairseq_has_removed_go_with_them(tmp_path, exported):
    kept = ["checkpoint4.safetensors", "checkpoint_best.safetensors", "checkpoint_mine.safetensors"]
    for name in [*kept, "checkpoint3.safetensors", "checkpoint_1_6.safetensors", "checkpoint.best_bleu_1.safetensors"]:
        file(tmp_path, name, 10)
    file(tmp_path, "checkpoint4.pt", 9)
    exports.export_saved(tmp_path / "checkpoint4.pt")
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == sorted(kept)
    assert exported == []
