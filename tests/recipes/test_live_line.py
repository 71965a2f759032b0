"""The line that tells how far a step of a recipe is."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from recipes.live_line import progress_of, time_left

ROOT = Path(__file__).parents[2]
START = "2026-01-01 00:00:00 | INFO | "
INNER = START + "train_inner | epoch {epoch:03d}:     {batch} / 120 loss=6.1, ppl=20.5, num_updates={updates}\n"
VALID = START + "valid | epoch {epoch:03d} | valid on 'valid' subset | loss 3.9 | bleu {bleu} | num_updates {updates}\n"
EPOCHS = "/bin/fairseq-train data --max-epoch 10 --lr 1 "
UPDATES = "/bin/fairseq-train data --max-update 500 "


def inner(epoch, batch, updates):
    return INNER.format(epoch=epoch, batch=batch, updates=updates)


def valid(epoch, bleu, updates):
    return VALID.format(epoch=epoch, bleu=bleu, updates=updates)


@pytest.mark.parametrize(
    ("log", "command", "wanted"),
    [
        ("", EPOCHS, None),
        (START + "fairseq_cli.train | model: LSTMModel\n", EPOCHS, None),
        (inner(1, 60, 60), EPOCHS, (0.05, "epoch 1/10")),
        (inner(1, 100, 100) + valid(1, 12.345, 120) + inner(2, 90, 210), EPOCHS, (0.175, "epoch 2/10, dev BLEU 12.35")),
        (inner(1, 60, 60), UPDATES, (0.12, "update 60/500")),
        (inner(5, 20, 480) + valid(5, 8.5, 500), UPDATES, (1.0, "update 500/500, dev BLEU 8.50")),
        (inner(1, 60, 60), "/bin/fairseq-train data ", (None, "update 60")),
        ("read 4,000 pairs\nlearning\n\n", "/bin/dlf-prepare parallel ", (None, "learning")),
        (inner(1, 60, 60) + START + "train_inner | epoch 001:   1", EPOCHS, (0.05, "epoch 1/10")),
    ],
)
def test_progress_is_read_from_the_log(log, command, wanted):
    found = progress_of(log, command)
    assert (found and found.text) == (wanted and wanted[1])
    if wanted:
        assert found.share == (wanted[0] and pytest.approx(wanted[0]))


@pytest.mark.parametrize(
    ("first", "now", "words"),
    [
        ((0.0, 0.0), (0.0, 0.0), ""),
        ((0.0, 0.0), (60.0, 0.25), ", about 3 min left"),
        # A resumed training is as fast as since it was resumed.
        ((100.0, 0.5), (110.0, 0.75), ", about 10 s left"),
        ((0.0, 0.5), (9.0, 1.0), ", about 0 s left"),
    ],
)
def test_the_time_left_is_told_from_the_speed(first, now, words):
    assert time_left(first, now) == words


def test_a_recipe_in_a_terminal_shows_the_line_and_clears_it(tmp_path):
    (tmp_path / "log.txt").write_text(inner(1, 60, 60), encoding="utf-8")
    script = tmp_path / "recipe.sh"
    script.write_text(
        f"set -euo pipefail\nsource {ROOT}/recipes/common.sh\n"
        f"python={sys.executable} out={tmp_path} steps=1\n"
        f"run_step fairseq-train - bash -c 'cat {tmp_path}/log.txt; sleep 4' --max-epoch 10\n"
        "echo the end\n",
        encoding="utf-8",
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    done = subprocess.run(["bash", str(script)], stdout=theirs, stderr=theirs, env=environment, timeout=60, check=False)
    os.close(theirs)
    printed = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # what Linux says where all has been read
            break
        if not part:
            break
        printed += part
    os.close(ours)
    assert done.returncode == 0, printed
    text = printed.decode()
    assert "[step 1/1] fairseq-train: log in " in text
    assert "\r\033[K    epoch 1/10" in text
    assert text.rstrip().endswith("\033[Kthe end")
