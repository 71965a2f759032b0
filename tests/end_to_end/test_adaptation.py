"""A student whose loss adapts while it trains: figures, resumption, decoding, a controller that is passed on."""

import re
import shutil
from types import SimpleNamespace

import pytest
import torch

from tests.end_to_end.commands import LSTM, SGD, assert_same_parameters, run, train

WINDOW = ["--criterion=dlf_adaptive", "--form=bins(number=2,kinds=1)", "--window=4", "--dev-bleu-sentences=16"]
ADAPTING = [*LSTM, *SGD, "--task=dlf_translation", "--no-dev-bleu", *WINDOW, "--controller-lr=0.01"]


def adapted(work, folder, *options):
    start = ["--finetune-from-model", work.warm, "--max-update=14", "--save-interval-updates=6"]
    return train(
        work, *ADAPTING, *start, "--controller-to", folder / "controller.safetensors", *options, "--save-dir", folder
    )


@pytest.fixture(scope="module")
def student(work, once):
    folder = once("adapted", lambda folder: adapted(work, folder))
    log = (folder / "printed.log").read_text(encoding="utf-8")
    return SimpleNamespace(folder=folder, log=log, last=folder / "checkpoint_last.pt")


def test_windows_and_their_figures_are_logged(student):
    windows = re.findall(
        r"window from update (\d+): dev BLEU ([\d.]+), reward ([+-][01]), .*entropy ([\d.]+), Φ (.*)", student.log
    )
    assert [int(window[0]) for window in windows] == [0, 4, 8, 12]
    assert windows[0][3] == "1.0986" and all(len(window[4].split()) == 10 for window in windows)
    for (_, before, *_), (_, after, reward, *_) in zip(windows, windows[1:], strict=False):
        change = float(after) - float(before)
        assert int(reward) == (change > 0) - (change < 0) or abs(change) < 0.01
    assert windows[0][4] != windows[-1][4]
    for figure in ("phi_mean", "phi_sd", "dev_bleu", "reward", "baseline", "entropy"):
        assert f"{figure}=" in student.log


def test_a_resumed_run_equals_a_straight_one(work, student, tmp_path):
    shutil.copy(student.folder / "checkpoint_1_6.pt", tmp_path / "checkpoint_last.pt")
    printed = adapted(work, tmp_path)
    assert "Loaded checkpoint" in printed and "window from update 4:" not in printed
    assert_same_parameters(tmp_path / "checkpoint_last.pt", student.last)
    name = "controller.safetensors"
    assert (tmp_path / name).read_bytes() == (student.folder / name).read_bytes()


def test_decoding_needs_no_controller(work, student, tmp_path):
    state = torch.load(student.last, weights_only=True)
    assert state["criterion"] is None and not any("controller" in name for name in state["model"])
    state["cfg"]["criterion"]["controller_from"] = "a-file-that-is-gone.safetensors"
    torch.save(state, tmp_path / "student.pt")
    user = ["--user-dir=fairseq_dlf", "--path", tmp_path / "student.pt", "--batch-size=16"]
    generated = run("fairseq-generate", work.bin, *user)
    assert len(re.findall(r"^H-\d+", generated, re.M)) == 16 and "BLEU4" in generated


def test_a_controller_guides_another_student_without_learning(work, student, tmp_path):
    start = student.folder / "controller.safetensors"
    options = ["--controller-from", start, "--controller-lr=0", "--max-update=5", "--no-save", "--save-dir", tmp_path]
    printed = train(work, *ADAPTING, *options)
    assert "controller:coefficient_controller" in printed and "window from update 4:" in printed


WRONG = {
    "window": (["--window=0"], "window is 0, but must be at least 1 (--window)"),
    "form": (["--form=diagonal"], "has no dev statistic for each of its coefficients"),
    "dev subset": (["--valid-subset=dev", "--disable-validation"], "the data-bin has no dev subset 'dev'"),
    "few dev sentences": (["--dev-bleu-sentences=33"], "33 sentences were asked for, the data set has 32"),
    "controller missing": (["--controller-from=none.safetensors"], "'none.safetensors' does not exist"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_named(work, tmp_path, arguments, message):
    printed = train(work, *ADAPTING, "--max-update=1", *arguments, "--save-dir", tmp_path, fails=True)
    assert message in printed, printed[-1000:]
