"""Checks that need a GPU, made on the CPU: what passes, fails and is left out, and what is not made twice."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import ours
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import products
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


def test_a_check_without_time_is_left_out(call):
    status, printed, _ = call(CHECKS, "passes", "--minutes", "0")
    assert status == 0
    assert "| passes | left out | 0 | no time was left (--minutes) |" in printed


def test_no_gpu_is_one_line_that_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["gpu", "--out", str(tmp_path)])
    assert command.main() == 1
    errors = capsys.readouterr().err
    assert "these checks need a GPU, but torch" in errors and "--device cpu" in errors
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


def test_a_target_of_make_calls_it():
    text = (Path(command.ROOT) / "Makefile").read_text()
    assert "python -m benchmarks.gpu $(GPU)" in text


@pytest.mark.slow
def test_all_checks_pass_on_the_cpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu", "--device", "cpu", "--out", str(tmp_path)])
    assert command.main() == 0
    printed = capsys.readouterr().out
    assert printed.count("| passed |") == len(command.CHECKS) - 1 and "| two_workers | left out |" in printed
