"""How a run of fairseq begins: its folder, unreadable checkpoints, runs that are done, dictionaries."""

import os
import subprocess
import sys

import pytest
import torch
from fairseq import checkpoint_utils

from fairseq_dlf.core.files.run_folder import only_run_in
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.hooks import run_start
from fairseq_dlf.translation.hooks.dictionaries import fingerprints, kept_fingerprints
from tests.translation.tiny_runs import STUDENT, TEACHING, contents, parameters, train


@pytest.fixture(scope="module")
def warm(data, tmp_path_factory):
    """A plain student after two updates: its folder."""
    folder = tmp_path_factory.mktemp("warm")
    train(data, folder, *STUDENT, "--max-update=2", "--save-interval-updates=1")
    return folder


RUNS = {
    "translation": [*STUDENT, "--criterion=dlf"],
    "dlf_translation": [*STUDENT, "--task=dlf_translation", "--criterion=dlf", "--no-dev-bleu"],
    "dlf_teaching": [*TEACHING, "--student={warm}"],
}


@pytest.mark.parametrize("name", RUNS)
def test_a_finished_run_changes_nothing(data, warm, tmp_path, name, caplog):
    options = [option.format(warm=warm / "checkpoint_last.pt") for option in RUNS[name]]
    train(data, tmp_path, *options, "--max-update=2")
    before = contents(tmp_path)
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("checkpoint*")}
    with caplog.at_level("INFO"):
        train(data, tmp_path, *options, "--max-update=2")
    assert "is finished: its 2 updates are done" in caplog.text
    assert contents(tmp_path) == before
    assert times == {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("checkpoint*")}
    train(data, tmp_path, *options, "--max-update=3")
    assert contents(tmp_path)["checkpoint_last.pt"] != before["checkpoint_last.pt"]


def test_a_finished_run_completes_the_exports_that_a_kill_prevented(data, warm, tmp_path):
    options = [*TEACHING, f"--student={warm / 'checkpoint_last.pt'}", "--max-update=2"]
    train(data, tmp_path, *options)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("checkpoint_*.safetensors")}
    (tmp_path / "checkpoint_best.safetensors").unlink()
    os.utime(tmp_path / "checkpoint_last.safetensors", ns=(0, 0))
    train(data, tmp_path, *options)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("checkpoint_*.safetensors")} == before
    assert (tmp_path / "checkpoint_last.safetensors").stat().st_mtime_ns > 0


def test_epochs_end_a_run_as_before(data, tmp_path):
    train(data, tmp_path, *STUDENT, "--max-epoch=1")
    before = contents(tmp_path)
    train(data, tmp_path, *STUDENT, "--max-epoch=1")
    assert contents(tmp_path) == before
    train(data, tmp_path, *STUDENT, "--max-epoch=2")
    assert "checkpoint2.pt" in contents(tmp_path)


@pytest.mark.parametrize("keep", [0, 100, 2000])
def test_an_unreadable_last_checkpoint_is_named_with_the_way_on(data, warm, tmp_path, keep):
    for name in ("checkpoint_1_1.pt", "checkpoint_last.pt"):
        (tmp_path / name).write_bytes((warm / name).read_bytes())
    (tmp_path / "checkpoint_1_1.pt").rename(tmp_path / "checkpoint_older.pt")
    (tmp_path / "checkpoint_best.pt").write_bytes(b"torn")
    last = tmp_path / "checkpoint_last.pt"
    last.write_bytes(last.read_bytes()[:keep])
    with pytest.raises(InputError, match="checkpoint_last.pt .*: pass another; the newest") as caught:
        train(data, tmp_path, *STUDENT, "--max-update=2")
    assert f"can be read is of update 1: cp {tmp_path / 'checkpoint_older.pt'} {last}" in str(caught.value)
    (tmp_path / "checkpoint_older.pt").unlink()
    with pytest.raises(InputError, match="no other checkpoint beside it can be read: delete .*checkpoint_last.pt"):
        train(data, tmp_path, *STUDENT, "--max-update=2")


def test_rates_that_would_end_the_run_at_once_are_named(data, tmp_path):
    for rate in ("-1", "1e999"):
        with pytest.raises(InputError, match="--lr is .*, but must be finite and not negative"):
            train(data, tmp_path, *STUDENT, f"--lr={rate}", "--max-update=1")


def test_other_unreadable_checkpoints_are_named(data, tmp_path):
    torn = tmp_path / "torn.pt"
    torn.touch()
    for option in ("--restore-file", "--finetune-from-model"):
        with pytest.raises(InputError, match="torn.pt is empty, .*: pass another$"):
            train(data, tmp_path / "out", *STUDENT, "--max-update=2", f"{option}={torn}")


def test_faults_that_are_not_the_files_come_through(data, warm, tmp_path):
    (tmp_path / "checkpoint_last.pt").write_bytes((warm / "checkpoint_last.pt").read_bytes())
    with pytest.raises(Exception, match="please ensure that the architectures match"):
        train(data, tmp_path, *STUDENT, "--encoder-hidden-size=5", "--max-update=3")


# The folder -------------------------------------------------------------------


def test_a_second_run_in_the_folder_is_refused(data, tmp_path):
    with only_run_in(tmp_path), pytest.raises(InputError, match="another process runs in .*--save-dir"):
        train(data, tmp_path, *STUDENT, "--max-update=1")
    assert not list(tmp_path.glob("*.pt"))
    # fairseq calls this at the beginning of a run.
    checkpoint_utils.verify_checkpoint_directory(str(tmp_path))
    code = "import sys; from pathlib import Path; from fairseq_dlf.core.files.run_folder import only_run_in\n"
    code += "with only_run_in(Path(sys.argv[1])): pass"
    other = [sys.executable, "-c", code, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    assert b"another process runs" in subprocess.run(other, capture_output=True, env=environment).stderr
    run_start._folder.close()
    assert subprocess.run(other, capture_output=True, env=environment).returncode == 0


def test_folders_that_cannot_be_are_named(tmp_path):
    (tmp_path / "file").touch()
    for name in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="cannot be the run's folder .*--save-dir"):
            checkpoint_utils.verify_checkpoint_directory(str(name))
    with pytest.raises(InputError, match="empty name: give --save-dir one"):
        checkpoint_utils.verify_checkpoint_directory("")


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    for name in ("checkpoint_last.pt.tmp", "checkpoint_1_2.pt.tmp", "checkpoint_last.pt", "notes.tmp"):
        (tmp_path / name).touch()
    checkpoint_utils.verify_checkpoint_directory(str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint_last.pt", "notes.tmp", "lock"}


# Dictionaries, batches --------------------------------------------------------


def test_dictionaries_are_kept_with_every_checkpoint(data, warm):
    from fairseq.tasks.translation import TranslationConfig, TranslationTask

    task = TranslationTask.setup_task(TranslationConfig(data=str(data), source_lang="de", target_lang="en"))
    state = torch.load(warm / "checkpoint_last.pt", weights_only=True)
    assert kept_fingerprints(state) == fingerprints(task)
    assert len(fingerprints(task)["source"]) == 16


def test_a_student_resumed_in_any_epoch_equals_a_straight_one(data, tmp_path):
    options = [*STUDENT, "--task=dlf_translation", "--criterion=dlf", "--coefficients=2", "--disable-validation"]
    options += ["--max-update=11", "--save-interval-updates=1"]
    straight = tmp_path / "straight"
    train(data, straight, *options)
    for name in ("checkpoint_1_2.pt", "checkpoint1.pt", "checkpoint_2_6.pt", "checkpoint2.pt", "checkpoint_3_10.pt"):
        resumed = tmp_path / name
        resumed.mkdir()
        (resumed / "checkpoint_last.pt").write_bytes((straight / name).read_bytes())
        train(data, resumed, *options)
        mine, wanted = parameters(resumed / "checkpoint_last.pt"), parameters(straight / "checkpoint_last.pt")
        assert all(torch.equal(mine[key], wanted[key]) for key in wanted), name
