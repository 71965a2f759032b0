"""The sequence losses in `fairseq-train`: both tasks, decoding, two workers, resumed runs."""

import sys

import pytest
import torch

from tests.end_to_end.commands import MODULES, assert_same_parameters, last_number, parameters
from tests.forking import Command, run
from tests.translation.tiny_runs import STUDENT, make_data_bin

LOSSES = {
    "dlf_sequence_reinforce": ["--reinforce-baseline=moving", "--reinforce-decay=0.5"],
    "dlf_sequence_risk": ["--risk-score=sum", "--sequence-reference"],
    "dlf_softmax_margin": ["--margin-target=reference"],
}
SHORT = ["--batch-size=4", "--required-batch-size-multiple=1", "--num-workers=0", "--cpu", "--seed=3"]
SHORT += ["--log-format=simple", "--log-interval=1", "--disable-validation", "--user-dir=fairseq_dlf"]
SHORT += ["--sequence-candidates=3", "--ce-share=0.3", "--label-smoothing=0.1"]
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
TWO = ["--distributed-world-size=2", "--distributed-no-spawn", "--distributed-backend=gloo"]
TWO += ["--ddp-backend=legacy_ddp"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data_bin(tmp_path_factory.mktemp("data"))


def options_of(data, name, folder, *more):
    return [data, *STUDENT, *SHORT, f"--criterion={name}", *LOSSES[name], "--save-dir", folder, *more]


def train(*arguments):
    done = run(MODULES["fairseq-train"], *arguments)
    assert done.status == 0, done.printed[-3000:]
    return done.printed


@pytest.mark.parametrize("name", LOSSES)
def test_a_resumed_run_equals_a_straight_one(data, tmp_path, name):
    """Within an epoch, and at its end; four updates are an epoch."""
    # fairseq's own task has other batches after a resume at the end of an epoch, whatever the criterion.
    every = ["--save-interval-updates=1", "--task=dlf_translation", "--no-dev-bleu"]
    printed = train(*options_of(data, name, tmp_path / "straight", "--max-update=6", *every))
    for figure in ("sequence_loss", "sample_bleu", *(["baseline"] if name == "dlf_sequence_reinforce" else [])):
        assert f"{figure}=" in printed
    for first in ("checkpoint1.pt", "checkpoint_1_2.pt"):
        resumed = tmp_path / first
        resumed.mkdir()
        (resumed / "checkpoint_last.pt").write_bytes((tmp_path / "straight" / first).read_bytes())
        train(*options_of(data, name, resumed, "--max-update=6", *every))
        assert_same_parameters(resumed / "checkpoint_last.pt", tmp_path / "straight/checkpoint_last.pt")


@pytest.mark.parametrize("name", LOSSES)
def test_students_of_both_tasks_are_the_same_and_decode(data, tmp_path, name):
    """The loss does not see the task's options of expected BLEU; a student of fairseq's own task needs no plug-in."""
    folders = {"translation": [], "dlf_translation": ["--candidates=2", "--candidate-method=beam", "--no-dev-bleu"]}
    for task, options in folders.items():
        train(*options_of(data, name, tmp_path / task, f"--task={task}", *options, "--max-update=2"))
    assert_same_parameters(*(tmp_path / task / "checkpoint_last.pt" for task in folders))
    cfg = torch.load(tmp_path / "dlf_translation/checkpoint_last.pt", weights_only=False)["cfg"]
    assert (cfg["task"]["candidates"], cfg["criterion"]["sequence_candidates"]) == (2, 3)
    assert_decodes_without_the_plug_in(data, tmp_path / "translation/checkpoint_last.pt")


def assert_decodes_without_the_plug_in(data, model):
    decoding = ["--path", model, "--beam=2", "--cpu", "--gen-subset=valid", "--required-batch-size-multiple=1"]
    # fairseq alone does not name what torch may load from its checkpoints, whatever the criterion.
    trusting = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    done = run(MODULES["fairseq-generate"], data, *decoding, "--batch-size=4", environment=trusting)
    assert done.status == 0, done.printed[-3000:]
    assert done.out.count("\nH-") == 4


@pytest.mark.parametrize("name", LOSSES)
def test_two_workers_are_one_that_accumulates(data, tmp_path, name):
    """Each batch draws by its own seed, whoever has it; the moving baseline is that of both workers."""
    length = ["--dropout=0", "--max-update=3"]
    one = train(*options_of(data, name, tmp_path / "one", *length, "--update-freq=2"))
    meeting = [*TWO, f"--distributed-init-method=file://{tmp_path}/meeting"]
    words = options_of(data, name, tmp_path / "two", *length, *meeting)
    both = [
        Command(MODULES["fairseq-train"], *words, f"--distributed-rank={rank}", environment=LOOPBACK) for rank in (0, 1)
    ]
    done = [command.wait() for command in both]
    assert [worker.status for worker in done] == [0, 0], done[0].printed[-3000:] + done[1].printed[-3000:]
    ours, theirs = parameters(tmp_path / "two/checkpoint_last.pt"), parameters(tmp_path / "one/checkpoint_last.pt")
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, rtol=1e-4, atol=1e-6)
    for figure in ("sequence_loss", "sample_bleu", *(["baseline"] if name == "dlf_sequence_reinforce" else [])):
        assert last_number(figure, done[0].printed) == pytest.approx(last_number(figure, one), abs=2e-4)
