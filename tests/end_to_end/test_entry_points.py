"""What a user types, each a process of its own that starts with nothing loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.commands import LSTM, QUIET, SGD, last_number, parameters, teach
from tests.forking import ONE_THREAD, REPOSITORY, TIMEOUT_S

SCRIPTS = Path(sys.executable).parent


def run(*words, cwd=REPOSITORY):
    """Runs a command, and returns what it printed."""
    variables = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(REPOSITORY)}
    command = list(map(str, words))
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, encoding="utf-8", timeout=TIMEOUT_S)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize("start", [[SCRIPTS / "fairseq-train"], [sys.executable, "-m", "fairseq_cli.train"]])
def test_fairseq_train_finds_the_plug_ins(work, tmp_path, start):
    options = [*QUIET, *LSTM, *SGD, "--criterion=dlf", "--coefficients=2", "--max-update=1"]
    printed = run(*start, work.bin, "--user-dir=fairseq_dlf", *options, "--save-dir", tmp_path)
    assert "phi_mean=2" in printed and last_number("nll_loss", printed) > 0
    assert parameters(tmp_path / "checkpoint_last.pt")


def test_dlf_prepare(tmp_path):
    for split in ("train", "valid", "test"):
        for language in ("de", "en"):
            (tmp_path / f"{split}.{language}").write_text("ein kleines haus steht hier .\n" * 9, encoding="utf-8")
    options = ["--raw", tmp_path, "--out", tmp_path / "out", "--bpe-tokens", "20"]
    run(SCRIPTS / "dlf-prepare", "parallel", *options)
    assert (tmp_path / "out/bin/train.de-en.de.bin").stat().st_size > 0


def test_dlf_average(work, tmp_path):
    run(SCRIPTS / "dlf-average", "--inputs", work.warm, work.warm, "--output", tmp_path / "average.pt")
    assert set(parameters(tmp_path / "average.pt")) == set(parameters(work.warm))


def test_dlf_compare(tmp_path):
    sentence = "a small house stands here ."
    (tmp_path / "references").write_text(f"{sentence}\n" * 5, encoding="utf-8")
    for name in ("first", "second"):
        generated = "".join(f"T-{n}\t{sentence}\nH-{n}\t-0.5\t{sentence}\n" for n in range(5))
        (tmp_path / name).write_text(generated, encoding="utf-8")
    systems = [f"{name}={tmp_path / name}" for name in ("first", "second")]
    printed = run(SCRIPTS / "dlf-compare", "--references", tmp_path / "references", "--baseline", "first", *systems)
    assert "| first (baseline) | 100" in printed


def test_dlf_student(work, tmp_path):
    teach(work, tmp_path, "--student-start=continue", "--max-update=1")
    printed = run(SCRIPTS / "dlf-student", tmp_path / "checkpoint_last.pt", "--output", tmp_path / "student.pt")
    assert printed.count("\n") == 1 and printed.startswith("wrote the student of")
    assert set(parameters(tmp_path / "student.pt")) == set(parameters(work.warm))


def test_dlf_teacher(work, teacher, tmp_path):
    run(
        SCRIPTS / "dlf-teacher", teacher.folder / "checkpoint_last.pt", "--data", work.bin, "--out", tmp_path / "report"
    )
    assert "data:image/png;base64," in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_images(tmp_path):
    options = ["--data=digits", "--model=mlp-5", "--epochs=0.1", "--seeds=1", "--loss=cross_entropy", "--lr=0.1"]
    run(sys.executable, "-m", "fairseq_dlf.images", "train", *options, "--out", tmp_path / "out", cwd=tmp_path)
    assert "cross_entropy" in run(sys.executable, "-m", "fairseq_dlf.images", "table", tmp_path / "out")
