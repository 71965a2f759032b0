"""Two workers on the CPU: students, shared episodes, an episode each; the numbers are those of one worker."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import torch

from tests.end_to_end.commands import (
    LSTM,
    MODULES,
    PLAIN_TEACHER,
    QUIET,
    SGD,
    TEACHING,
    assert_same_move,
    assert_same_parameters,
    last_number,
    moved,
    parameters,
    taught,
    teach,
    train,
)
from tests.forking import ONE_THREAD, REPOSITORY, TIMEOUT_S, Command

# A machine whose name does not resolve has its loopback all the same.
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
BY_TWO = ["--cpu", "--distributed-world-size=2", "--distributed-no-spawn", "--distributed-backend=gloo"]
BY_TWO += ["--ddp-backend=legacy_ddp"]


@pytest.fixture
def train_by_two(tmp_path):
    """Runs two workers on the CPU, which meet in a file, and returns what the first printed."""

    def train_by_two(work, *options):
        meeting = [*BY_TWO, f"--distributed-init-method=file://{tmp_path}/meeting"]
        words = [work.bin, "--user-dir=fairseq_dlf", *QUIET, *options, *meeting]
        module, ranks = MODULES["fairseq-train"], (0, 1)
        both = [Command(module, *words, f"--distributed-rank={rank}", environment=LOOPBACK) for rank in ranks]
        done = [command.wait() for command in both]
        assert [worker.status for worker in done] == [0, 0], done[0].printed[-3000:] + done[1].printed[-3000:]
        return done[0].printed

    return train_by_two


def test_two_workers_train_a_taught_student(work, teacher, tmp_path, train_by_two):
    options = [*taught(work, teacher), "--task=dlf_translation", "--max-update=4", "--save-dir", tmp_path]
    printed = train_by_two(work, *options)
    assert "s_dev_bleu=" in printed
    assert last_number("expected_bleu", printed) > 0
    assert parameters(tmp_path / "checkpoint_last.pt")


def test_two_workers_get_the_past_self_back(work, tmp_path, train_by_two):
    options = [*LSTM, *SGD, "--task=dlf_translation", "--criterion=dlf_self_distillation", "--disable-validation"]
    options += ["--finetune-from-model", work.warm, "--distillation-from-start", "--max-update=7"]
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    printed = train_by_two(work, *options, "--save-dir", straight, "--save-interval-updates=6")
    assert 0 < last_number("past_prob", printed) < 1
    resumed.mkdir()
    shutil.copy(straight / "checkpoint_2_6.pt", resumed / "checkpoint_last.pt")
    (tmp_path / "meeting").unlink()
    printed = train_by_two(work, *options, "--save-dir", resumed)
    assert "Loaded checkpoint" in printed
    assert_same_parameters(resumed / "checkpoint_last.pt", straight / "checkpoint_last.pt")


def test_two_workers_adapt_a_loss_alike(work, tmp_path, train_by_two):
    """Each has a controller of its own; that of the second would lead the students apart if it moved otherwise."""
    options = [*LSTM, *SGD, "--task=dlf_translation", "--no-dev-bleu", "--disable-validation", "--dropout=0"]
    options += ["--criterion=dlf_adaptive", "--form=bins(number=2)", "--window=2", "--dev-bleu-sentences=16"]
    options += ["--finetune-from-model", work.warm, "--controller-lr=0.05", "--max-update=7"]
    one = train(work, *options, "--cpu", "--update-freq=2", "--save-dir", tmp_path / "one")
    two = train_by_two(work, *options, "--save-dir", tmp_path / "two")
    windows = [re.findall(r"window from update (.*)", printed) for printed in (one, two)]
    assert windows[0] == windows[1] and len(set(windows[0])) == 4
    found, wanted = (parameters(tmp_path / name / "checkpoint_last.pt") for name in ("two", "one"))
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", ["exact", "forward"])
def test_two_workers_share_an_episode(work, tmp_path, train_by_two, way):
    options = ["--curvature", way, "--batch-size=7", "--measure-sentences=32"]
    teach(work, tmp_path / "one", *options)
    teach(work, tmp_path / "two", *options, "--share-episodes", by=train_by_two)
    # A difference of gradients magnifies the rounding of their sums.
    assert_same_move(tmp_path / "two", tmp_path / "one", within={"exact": 1e-5, "forward": 2e-2}[way])


def test_two_workers_with_an_episode_each_are_one_with_two(work, tmp_path, train_by_two):
    teach(work, tmp_path / "one", "--update-freq=2", "--episodes-per-epoch=4")
    printed = teach(work, tmp_path / "two", "--episodes-per-epoch=4", by=train_by_two)
    assert_same_move(tmp_path / "two", tmp_path / "one")
    assert "|episodes:2|" in printed


def test_two_workers_with_a_member_each_are_one_with_two(work, tmp_path, train_by_two):
    options = ["--student", f"{work.warm},fresh:{work.warm}", "--optimizer=dlf_member_adam", "--lr=0.05"]
    options += ["--max-update=2", "--no-epoch-checkpoints", "--validate-interval=2"]
    printed = {"one": train(work, *TEACHING, *options, "--update-freq=2", "--cpu", "--save-dir", tmp_path / "one")}
    printed["two"] = train_by_two(work, *TEACHING, *options, "--save-dir", tmp_path / "two")
    assert_same_parameters(tmp_path / "two" / "checkpoint_last.pt", tmp_path / "one" / "checkpoint_last.pt")
    figures = ["expected_bleu", "expected_bleu_1", "expected_bleu_2", "bleu", "bleu_1", "bleu_2"]
    one, two = ({name: last_number(name, each) for name in figures} for each in printed.values())
    assert one == two and one["bleu_1"] > one["bleu_2"] >= 0
    assert one["expected_bleu_1"] != one["expected_bleu_2"]


@pytest.mark.slow
def test_two_workers_share_the_episodes_of_each_member(work, tmp_path, train_by_two):
    options = ["--student", f"{work.warm},fresh:{work.warm}", "--optimizer=sgd", "--lr=1e4", "--student-dropout=0"]
    options += ["--max-update=1", "--no-epoch-checkpoints", "--update-freq=2", "--batch-size=7"]
    one = train(work, *TEACHING, *options, "--cpu", "--save-dir", tmp_path / "one")
    two = train_by_two(work, *TEACHING, *options, "--share-episodes", "--save-dir", tmp_path / "two")
    assert_same_move(tmp_path / "two", tmp_path / "one")
    for name in ("bleu_1", "bleu_2"):
        assert last_number(name, two) == last_number(name, one)


def test_torchrun_starts_the_workers(work, tmp_path):
    options = [work.bin, "--user-dir=fairseq_dlf", *QUIET, *TEACHING, "--student", work.warm]
    options += [option for option in PLAIN_TEACHER if option != "--disable-validation"]
    options += ["--max-update=1", "--share-episodes", "--save-dir", tmp_path, *BY_TWO]
    each = [sys.executable, "-m", MODULES["fairseq-train"], *options, "--distributed-init-method=env://"]
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    start += ["--nproc-per-node=2"]
    command = [*start, "--no-python", "bash", "-c", f"{shlex.join(map(str, each))} --distributed-rank=$RANK"]
    variables = {**os.environ, **ONE_THREAD, **LOOPBACK, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, encoding="utf-8", env=variables, timeout=TIMEOUT_S
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "|shared:2|" in done.stdout + done.stderr
    assert last_number("bleu", done.stdout + done.stderr) >= 0
    assert moved(tmp_path).norm() > 0.01
