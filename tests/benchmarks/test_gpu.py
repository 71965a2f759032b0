"""Checks that need a GPU, made on the CPU: what passes, fails and is left out, and what is not made twice."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import ours
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import products, runs
from benchmarks.gpu.check import Place, UnmetError, WrongError, within


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Calls the command with checks of our own in place of the long ones."""

    def run(checks, *arguments):
        monkeypatch.setattr(command, "CHECKS", checks)
        monkeypatch.setattr("sys.argv", ["gpu", "--device", "cpu", "--out", str(tmp_path), *arguments])
        return command.main(), *capsys.readouterr()

    return run


def passes(place):
    """It passes."""
    return {"error": 1e-9}


def fails(place):
    """It fails."""
    return within({"error": 0.5}, {"error": 0.1})


def breaks(place):
    """It ends by an error."""
    raise RuntimeError("no kernel image\nis available")


def wants_more(place):
    """It needs what is not there."""
    raise UnmetError("needs two GPUs, found 0")


CHECKS = {each.__name__: each for each in (passes, fails, breaks, wants_more)}


def test_every_check_has_an_outcome_and_a_failure_is_the_exit_status(call, tmp_path):
    status, printed, _ = call(CHECKS)
    assert status == 1
    for line in (
        "| passes | passed | 0 |  |",
        "| fails | failed | 0 | error: 5.0e-01, wanted 1e-01 at most |",
        "| breaks | failed | 0 | RuntimeError: no kernel image |",
        "| wants_more | left out | 0 | needs two GPUs, found 0 |",
    ):
        assert line in printed
    assert (tmp_path / "cpu" / "REPORT.md").read_text() in printed
    record = json.loads((tmp_path / "cpu" / "fails.json").read_text())
    assert record["figures"] == {"error": 0.5} and record["device"] == "cpu" and record["commit"]


def test_what_has_passed_is_not_made_again(call):
    made = []

    def counted(place):
        """Count."""
        made.append(place)
        return {}

    assert call({"counted": counted})[0] == call({"counted": counted})[0] == 0
    assert len(made) == 1
    call({"counted": counted}, "--again")
    assert len(made) == 2


def test_what_has_passed_is_made_again_by_another_commit(call, monkeypatch):
    made = []

    def counted(place):
        """Count."""
        made.append(place)
        return {}

    call({"counted": counted})
    monkeypatch.setattr(command, "circumstances", lambda: {"commit": "other", "versions": {"torch": "9"}})
    call({"counted": counted})
    assert len(made) == 2


def test_what_has_passed_is_made_again_with_other_images(call):
    made = []

    def counted(place):
        """Count."""
        made.append(place.data)
        return {"data": place.data, "table": f"table of {place.data}"}

    call({"counted": counted})
    assert "table of mnist:DIR" in call({"counted": counted}, "--data", "mnist:DIR")[1]
    assert "| data | mnist:DIR |" in call({"counted": counted}, "--data", "mnist:DIR")[1]
    assert made == ["digits", "mnist:DIR"]


def test_a_check_without_time_is_left_out(call):
    status, printed, _ = call(CHECKS, "passes", "--minutes", "0")
    assert status == 0
    assert "| passes | left out | 0 | no time was left (--minutes) |" in printed


def test_no_gpu_is_one_line_that_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["gpu", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert "these checks need a GPU, but torch" in errors and "--device cpu" in errors and errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_unknown_checks_are_refused(call, capsys):
    with pytest.raises(SystemExit):
        call(CHECKS, "nothing")
    assert "there is no check 'nothing'; choose from passes" in capsys.readouterr().err


def test_a_figure_that_is_no_number_fails():
    with pytest.raises(WrongError, match="wanted 1e-08 at most"):
        within({"mlp, CPU": float("nan")}, {"CPU": 1e-8})


@pytest.fixture
def place(tmp_path):
    return Place(torch.device("cpu"), tmp_path)


def test_products_are_those_of_autograd(place):
    figures = products.ladder(place)
    assert set(figures) == {f"{name}, {by}" for name in products.STUDENTS for by in ("autograd", "CPU")}


def test_a_wrong_product_is_noticed(place, monkeypatch):
    right = ours.episode
    monkeypatch.setattr(ours, "episode", lambda case, steps: right(case, steps) * (1 + 1e-6))
    with pytest.raises(WrongError, match="mlp, autograd: 1.0e-06"):
        products.ladder(place)


def test_a_store_that_changes_states_is_noticed(place, monkeypatch):
    monkeypatch.setattr(products, "STORED_STEPS", 3)
    assert products.storage(place)[f"{ours.ON_HOST}: greatest difference"] == 0
    right = ours.episode

    def rounded(case, steps, trajectory=ours.ALL_STATES):
        found = right(case, steps, trajectory=trajectory)
        return found.bfloat16().float() if trajectory == ours.ON_HOST else found

    monkeypatch.setattr(ours, "episode", rounded)
    with pytest.raises(WrongError, match=ours.ON_HOST):
        products.storage(place)


@pytest.fixture
def taught(monkeypatch):
    """Stands for fairseq-train: the teacher that a run leaves is drawn from the given values, one a run."""
    found = []

    def give(*values):
        left = list(values)

        def train(place, name, *options, devices=1):
            folder = Path(options[list(options).index("--save-dir") + 1])
            found.append((folder.name, folder.exists()))
            folder.mkdir(parents=True, exist_ok=True)
            torch.save(
                {"model": {"a": torch.zeros(2), "teacher.values": torch.tensor(left.pop(0))}},
                folder / "checkpoint_last.pt",
            )

        monkeypatch.setattr(runs, "_train", train)
        monkeypatch.setattr(runs, "_warm", lambda place: "warm.pt")
        return found

    return give


def test_a_check_that_is_made_again_trains_again(place, taught):
    trained = taught(1.5, 1.5)
    assert runs.teaching(place) == runs.teaching(place) == {"greatest move of a teacher's value": 0.5}
    assert trained == [("teacher", False)] * 2


def test_a_resumed_run_goes_on_where_it_was_stopped(place, taught):
    trained = taught(1.5, 1.5, 1.2, 1.5)
    assert runs.resume(place) == {"the same run twice": 0.0, "resumed": 0.0}
    assert trained == [("once", False), ("again", False), ("resumed", False), ("resumed", True)]


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ((1.5, 1.5, 1.2, 1.25), WrongError, "differs by 2.5e-01, although the device repeats itself"),
        ((1.5, 1.25, 1.2, 1.5), UnmetError, "does not repeat itself: the run twice 2.5e-01, resumed 0.0e"),
        ((1.5, float("nan"), 1.2, 1.5), WrongError, "not finite"),
        ((1.5, 1.5, 1.2, float("nan")), WrongError, "differs by nan"),
    ],
)
def test_a_resumed_run_that_differs_does_not_pass(place, taught, values, error, words):
    taught(*values)
    with pytest.raises(error, match=words):
        runs.resume(place)


@pytest.mark.parametrize(
    ("given", "device", "devices", "seen"),
    [
        (None, "cuda", 1, "0"),
        (None, "cuda:1", 1, "1"),
        (None, "cuda:1", 2, "1,0"),
        ("4,6", "cuda", 1, "4"),
        ("4,6", "cuda:1", 1, "6"),
        ("4,6", "cuda", 2, "4,6"),
    ],
)
def test_a_run_has_the_gpus_that_it_was_given(tmp_path, monkeypatch, given, device, devices, seen):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    log = runs._call(Place(torch.device(device), tmp_path), "seen", [sys.executable, "-c", code], devices)
    assert log.read_text() == f"{seen}\n"


def test_runs_of_images_use_the_first_gpu_that_they_see(tmp_path, monkeypatch):
    called = []

    def run(words, stdout, **others):
        called.append(words)
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(subprocess, "run", run)
    runs.images(Place(torch.device("cuda:1"), tmp_path))
    devices = {words[words.index("--device") + 1] for words in called if "--device" in words}
    assert len(called) == 5 and devices == {"cuda"}


def test_a_command_that_hangs_fails_and_one_without_time_is_left_out(tmp_path, monkeypatch):
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(runs, "COMMAND_MINUTES", 0.01)
    with pytest.raises(WrongError, match="sleep did not end within 0.01 minutes"):
        runs._call(Place(torch.device("cpu"), tmp_path), "sleep", sleep)
    with pytest.raises(UnmetError, match="sleep did not end in the 0 s that were left"):
        runs._call(Place(torch.device("cpu"), tmp_path, ends=time.monotonic() + 0.1), "sleep", sleep)


def test_a_target_of_make_calls_it():
    text = (Path(command.ROOT) / "Makefile").read_text()
    assert "python -m benchmarks.gpu $(GPU)" in text


@pytest.mark.slow
def test_all_checks_pass_on_the_cpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu", "--device", "cpu", "--out", str(tmp_path)])
    assert command.main() == 0
    printed = capsys.readouterr().out
    assert printed.count("| passed |") == len(command.CHECKS) - 1 and "| two_workers | left out |" in printed
