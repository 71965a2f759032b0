"""A corpus, a warm student, a teacher and a student of it, each made once for all workers of a test run."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.end_to_end.commands import LSTM, TEACHING, run, taught, train
from tests.forking import REPOSITORY
from tests.forking import run as fork

LOG_NAME = "printed.log"


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], str]], Path]:
    """`once(name, build)`: a folder that `build` has filled; its log lies in it. Other workers wait for it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str, build: Callable[[Path], str]) -> Path:
        folder = shared / f"end-to-end-{name}"
        folder.mkdir(exist_ok=True)
        with (folder / "building.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / LOG_NAME).exists():
                (folder / LOG_NAME).write_text(build(folder), encoding="utf-8")
        return folder

    return make


def log_of(folder: Path) -> str:
    return (folder / LOG_NAME).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def work(once):
    """A corpus from the toy grammar, its data-bin, and a warm student."""
    found = SimpleNamespace(folder=once("work", build_work))
    found.bin, found.warm = found.folder / "data/bin", found.folder / "warm/checkpoint_last.pt"
    found.warm_log = log_of(found.folder)
    return found


def build_work(folder: Path) -> str:
    options = ["--out", folder / "raw", "--pairs", 240, "--valid", 32, "--test", 16]
    assert fork("toy_corpus", *options, cwd=REPOSITORY / "recipes").status == 0
    run("dlf-prepare", "parallel", "--raw", folder / "raw", "--out", folder / "data", "--bpe-tokens", "300")
    smoothed = ["--criterion=label_smoothed_cross_entropy", "--label-smoothing=0.1", "--optimizer=adam", "--lr=0.02"]
    dev = ["--task=dlf_translation", "--best-checkpoint-metric=bleu", "--maximize-best-checkpoint-metric"]
    save = ["--save-dir", folder / "warm", "--no-epoch-checkpoints"]
    length = ["--max-epoch=20", "--batch-size=16", "--validate-interval=20"]
    return train(SimpleNamespace(bin=folder / "data/bin"), *LSTM, *smoothed, *dev, *save, *length)


@pytest.fixture(scope="session")
def teacher(work, once):
    """A teacher after four episodes; its log and its folder."""
    options = [*TEACHING, "--student", work.warm, "--max-update=4"]
    folder = once("teacher", lambda folder: train(work, *options, "--save-dir", folder))
    return SimpleNamespace(folder=folder, log=log_of(folder))


@pytest.fixture(scope="session")
def student(work, teacher, once):
    """A student taught for sixteen updates, two epochs, and its log."""
    options = [*taught(work, teacher), "--save-interval-updates=6"]
    folder = once("student", lambda folder: train(work, *options, "--save-dir", folder))
    return SimpleNamespace(folder=folder, log=log_of(folder), last=folder / "checkpoint_last.pt")
