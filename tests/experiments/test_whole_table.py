"""A small table from raw text to the report, killed once and resumed."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("fairseq")

from experiments.logs import STARTED, read_log  # noqa: E402
from experiments.records import Records  # noqa: E402
from experiments.workplace import Workplace, is_locked  # noqa: E402
from tests.experiments.toy_table import TABLE  # noqa: E402

ROOT = Path(__file__).parents[2]
FIRST = "lstm_dlf_1/seed-1/plain/lr-0.5"
LIMIT_S = 3000

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * LIMIT_S)]


def command(folder, *arguments):
    places = ["--out", folder / "out", "--results", folder / "results"]
    return [sys.executable, "-m", "tests.experiments.toy_table", "toy", *map(str, [*places, *arguments])]


def call(folder, *arguments):
    done = subprocess.run(
        command(folder, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def kill_during(folder, run, environment):
    """Start the table, and end it once a run has saved a checkpoint in the middle."""
    log = folder / "out" / run / "train.log"
    process = subprocess.Popen(
        command(folder, "--raw", folder / "corpus", "--jobs", 2), cwd=ROOT, env=environment, stdout=subprocess.PIPE
    )
    deadline = time.monotonic() + LIMIT_S
    while not (log.is_file() and "checkpoint_1_6.pt (epoch 1 @ 6 updates" in log.read_text(errors="replace")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 130


def test_a_table_from_text_to_report(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    corpus = [sys.executable, ROOT / "recipes/toy_corpus.py", "--out", tmp_path / "corpus", "--pairs", "400"]
    subprocess.run([*map(str, corpus), "--seed", "1"], check=True, capture_output=True)
    kill_during(tmp_path, FIRST, environment)
    folder = tmp_path / "out" / FIRST
    assert not is_locked(folder)
    assert Records(tmp_path / "results" / "toy").read(FIRST) is None

    said = call(tmp_path, "--jobs", 2)
    assert f"begins {FIRST}\n" in said
    place = Workplace(TABLE, tmp_path / "out", tmp_path / "results")
    assert {place.state(task) for task in place.tasks()} == {"done"}
    log = (folder / "train.log").read_text(errors="replace")
    assert log.count(STARTED) == 2
    assert "Loaded checkpoint" in log.split(STARTED)[-1]
    assert [each.update for each in read_log(folder / "train.log").curve] == [6, 12, 18]
    _require_records(place)
    assert "begins" not in call(tmp_path, "--jobs", 2)
    report = call(tmp_path, "--report")
    assert re.search(r"\| cross-entropy \| \d+\.\d\d ± \d+\.\d\d \|", report)
    assert re.search(r"\| constant Φ \| LSTM-1 \| 2 \| \d+\.\d\d \| .* \| [01]\.\d+ \| ", report)


def _require_records(place):
    for column in TABLE.columns:
        chosen = place.chosen(column)
        assert chosen is not None
        for seed in (1, 2):
            name = f"lstm_dlf_1/seed-{seed}/{column.name}/{chosen.name}"
            record, average = place.records.read(name), place.records.read(f"{name}+average")
            assert record.best_bleu == max(each.bleu for each in record.curve)
            assert (record.test.sentences, average.test.sentences) == (200, 200)
            assert place.records.statistics(name).shape == (200, 10)
            assert [path.name for path in (place.out / name).glob("*.pt")] == ["checkpoint_best.pt"]
            assert str(place.out) not in place.records.path(name).read_text()
