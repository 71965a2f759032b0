"""Commit, machine and data."""

import subprocess

import pytest
import torch

from experiments import circumstances
from fairseq_dlf.core.support.digests import digest
from fairseq_dlf.core.support.errors import MissingFileError


def git(folder, *words):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    return subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_commit_tells_changes_but_for_records(tmp_path):
    assert circumstances.commit(tmp_path) == "unknown"
    git(tmp_path, "init", "-q")
    (tmp_path / "results").mkdir()
    for name in ("code", "results/record"):
        (tmp_path / name).write_text("1")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "All")
    head = git(tmp_path, "rev-parse", "HEAD").strip()
    assert circumstances.commit(tmp_path) == head
    (tmp_path / "results/record").write_text("2")
    assert circumstances.commit(tmp_path) == head
    (tmp_path / "code").write_text("2")
    assert circumstances.commit(tmp_path) == f"{head}-dirty"


def test_machine():
    found = circumstances.machine(3)
    assert (found.threads, found.cores >= 1, bool(found.cpu)) == (3, True, True)
    assert {"python", "torch"} <= set(found.versions)
    assert found.gpu is None or torch.cuda.is_available()


def test_a_gpu_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a fast one")
    assert circumstances.machine(1).gpu == "a fast one"


def test_data(tmp_path):
    pytest.importorskip("fairseq")
    from tests.translation.tiny_runs import dictionary, make_data_bin

    make_data_bin(tmp_path / "bin", train=7)
    assert circumstances.data(tmp_path) == circumstances.Data(digest("\n".join(dictionary().symbols), 16), 7)
    with pytest.raises(MissingFileError, match="no binarised training set"):
        circumstances.data(tmp_path / "bin")
