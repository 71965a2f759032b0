"""Folders of runs: state that survives, and one process at a time."""

import subprocess
import sys

import pytest
import torch

from fairseq_dlf.core.support.run_folder import STATE_NAME, load_state, only_run_in, save_state


def test_a_state_comes_back_for_the_same_settings_only(tmp_path):
    assert load_state(tmp_path, "a") is None
    save_state(tmp_path / "run", "a", {"x": torch.arange(3), "y": [1, None, "z"]})
    found = load_state(tmp_path / "run", "a")
    assert torch.equal(found["x"], torch.arange(3)) and found["y"] == [1, None, "z"]
    with pytest.raises(ValueError, match="holds a run with other settings .a; these are b.: name another"):
        load_state(tmp_path / "run", "b")


def test_a_failure_leaves_the_old_state(tmp_path, monkeypatch):
    save_state(tmp_path, "a", {"x": 1})

    def full(state, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="the disk is full: .*last.pt could not be written"):
        save_state(tmp_path, "a", {"x": 2})
    assert [path.name for path in tmp_path.iterdir()] == [STATE_NAME]
    assert load_state(tmp_path, "a")["x"] == 1


def test_one_process_at_a_time(tmp_path):
    code = "import sys, pathlib; from fairseq_dlf.core.support.run_folder import only_run_in\n"
    code += "with only_run_in(pathlib.Path(sys.argv[1])): print('ran')"
    with only_run_in(tmp_path / "run"):
        other = subprocess.run([sys.executable, "-c", code, tmp_path / "run"], capture_output=True, text=True)
    assert other.returncode == 1 and "another process runs in" in other.stderr
    after = subprocess.run([sys.executable, "-c", code, tmp_path / "run"], capture_output=True, text=True)
    assert after.stdout == "ran\n"


def test_a_file_is_no_folder_of_a_run(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(ValueError, match="file cannot be a folder .File exists.: name another"),
        only_run_in(tmp_path / "file"),
    ):
        pass
