"""Folders of runs: state that survives, and one process at a time."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fairseq_dlf.core.files import run_folder
from fairseq_dlf.core.files.run_folder import STATE_NAME, load_state, only_run_in, read_state, save_state
from fairseq_dlf.core.support.errors import InputError


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
    code = "import sys, pathlib; from fairseq_dlf.core.files.run_folder import only_run_in\n"
    code += "with only_run_in(pathlib.Path(sys.argv[1])): print('ran')"
    with only_run_in(tmp_path / "run"):
        other = subprocess.run([sys.executable, "-c", code, tmp_path / "run"], capture_output=True, text=True)
    assert other.returncode == 1 and "another process runs in" in other.stderr
    after = subprocess.run([sys.executable, "-c", code, tmp_path / "run"], capture_output=True, text=True)
    assert after.stdout == "ran\n"


def test_a_file_is_no_folder_of_a_run(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(ValueError, match="file cannot be the run's folder .File exists.: name another"),
        only_run_in(tmp_path / "file"),
    ):
        pass


@pytest.mark.parametrize("name", ["", "."])
def test_a_run_needs_a_folder_of_its_own(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="has no name or is the current one") as error, only_run_in(Path(name)):
        pass
    assert error.value.setting == "out" and not list(tmp_path.iterdir())


def test_a_system_without_locks_is_noted(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(run_folder, "fcntl", None)
    with only_run_in(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
    assert "cannot lock" in caplog.text and "start no second run in it" in caplog.text


@dataclass(frozen=True)
class State:
    updates: int
    curve: list[float]
    params: Tensor


GOOD = {"updates": 3, "curve": [0.5], "params": torch.ones(2)}


def test_a_state_is_read_into_a_dataclass(tmp_path):
    assert read_state(tmp_path, "a", State) is None
    save_state(tmp_path, "a", GOOD)
    found = read_state(tmp_path, "a", State)
    assert (found.updates, found.curve) == (3, [0.5]) and torch.equal(found.params, torch.ones(2))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"curve": None}, "curve is None, wanted a list"),
        ({"updates": "x"}, "updates is 'x', wanted a whole number"),
        ({"params": [1.0]}, r"params is \[1.0\], wanted a tensor"),
        ({"other": 1}, "unknown fields 'other'"),
    ],
)
def test_a_wrong_field_of_a_state_is_named(tmp_path, change, words):
    save_state(tmp_path, "a", {**GOOD, **change})
    with pytest.raises(InputError, match=f"last.pt is damaged.*{words}.*; delete .* to start that run again"):
        read_state(tmp_path, "a", State)


def test_a_damaged_state_is_named_wherever_it_is_damaged(tmp_path):
    save_state(tmp_path, "a", GOOD)
    path = tmp_path / STATE_NAME
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"text", b"\x80\x02]q\x00.", whole[:10], whole.replace(b"q", b"\xff")):
        path.write_bytes(content)
        with pytest.raises(InputError, match="last.pt (cannot be read|is no checkpoint).*, or delete .* to start that"):
            load_state(tmp_path, "a")
    path.write_bytes(b"")
    with pytest.raises(InputError, match="last.pt is empty, perhaps because a run was killed.*, or delete"):
        load_state(tmp_path, "a")
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="last.pt is not a file: .*, or delete"):
        load_state(tmp_path, "a")
    path.rmdir()
    for state in (None, 3, [1], {"signature": None}, {"updates": 3}):
        torch.save(state, path)
        with pytest.raises(InputError, match="last.pt is not the state of a run"):
            load_state(tmp_path, "a")


def test_the_folders_above_are_made_as_well(tmp_path):
    with only_run_in(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
