"""Actor-critic training by `fairseq-train`: resumes, new runs, pure checkpoints, two workers."""

import sys

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.translation.hooks.task_state import EXTRA_STATE_KEY
from tests.end_to_end.commands import MODULES, run
from tests.forking import Command
from tests.translation.tiny_runs import SHORT, STUDENT, parameters, train

CRITIC = ["--criterion=dlf_actor_critic", "--critic-width=6", "--critic-target-rate=0.1", "--sequence-candidates=2"]
RUN = [*STUDENT, *CRITIC, "--critic-pretraining=2", "--disable-validation", "--save-interval-updates=1"]
TASKS = {"translation": [], "dlf_translation": ["--task=dlf_translation", "--no-dev-bleu"]}


def critic_in(checkpoint):
    return torch.load(checkpoint, weights_only=True)["extra_state"][EXTRA_STATE_KEY]["actor_critic"]


def flat(state):
    """All values of a state by path."""
    if isinstance(state, dict):
        return {f"{name}/{rest}": value for name, part in state.items() for rest, value in flat(part).items()}
    if isinstance(state, (list, tuple)):
        return flat(dict(enumerate(state)))
    return {"": state}


def assert_same_critic(first, second):
    mine, theirs = flat(critic_in(first)), flat(critic_in(second))
    assert mine.keys() == theirs.keys()
    assert any("exp_avg_sq" in name for name in mine)
    for name, value in mine.items():
        same = torch.equal(value, theirs[name]) if isinstance(value, torch.Tensor) else value == theirs[name]
        assert same, name


def assert_same_student(first, second):
    mine, theirs = parameters(first), parameters(second)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize(("task", "update"), [("translation", 1), ("translation", 3), ("dlf_translation", 3)])
def test_a_resumed_run_is_the_straight_one_bit_for_bit(data, tmp_path, task, update):
    """While the critic learns alone, and later; in the middle of an epoch of four updates."""
    options = [*RUN, *TASKS[task], "--max-update=6"]
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    train(data, straight, *options)
    resumed.mkdir()
    (resumed / "checkpoint_last.pt").write_bytes((straight / f"checkpoint_1_{update}.pt").read_bytes())
    train(data, resumed, *options)
    last = [folder / "checkpoint_last.pt" for folder in (straight, resumed)]
    assert critic_in(last[0])["updates"] == 6
    assert_same_critic(*last)
    assert_same_student(*last)


def test_pretraining_leaves_the_student_bit_for_bit(data, tmp_path):
    train(data, tmp_path, *RUN, "--critic-pretraining=3", "--max-update=4")
    at = [tmp_path / f"checkpoint_1_{update}.pt" for update in (1, 2, 3)] + [tmp_path / "checkpoint_last.pt"]
    assert_same_student(at[0], at[2])
    first, last = parameters(at[2]), parameters(at[3])
    assert any(not torch.equal(first[name], last[name]) for name in first)


def test_a_new_run_begins_with_a_new_critic(data, tmp_path):
    other = tmp_path / "other/checkpoint_last.pt"
    train(data, tmp_path / "other", *RUN, "--max-update=3")
    train(data, tmp_path / "new", *RUN, f"--finetune-from-model={other}", "--max-update=2")
    assert critic_in(tmp_path / "new/checkpoint_last.pt")["updates"] == 2
    # It is still in the phase in which the critic learns alone.
    assert_same_student(tmp_path / "new/checkpoint_last.pt", other)


def test_a_critic_of_another_width_cannot_go_on(data, tmp_path):
    train(data, tmp_path, *RUN, "--max-update=2")
    with pytest.raises(InputError, match="critic_width is 7, but .* has a critic of width 6: .*--critic-width"):
        train(data, tmp_path, *RUN, "--critic-width=7", "--max-update=4")


def test_the_critics_new_rate_holds_after_a_resume(data, tmp_path):
    train(data, tmp_path, *RUN, "--max-update=2")
    train(data, tmp_path, *RUN, "--critic-lr=0.5", "--max-update=3")
    assert critic_in(tmp_path / "checkpoint_last.pt")["optimizer"]["param_groups"][0]["lr"] == 0.5


def test_the_checkpoint_is_a_plain_student(data, tmp_path):
    train(data, tmp_path / "critic", *RUN, "--max-update=3")
    train(data, tmp_path / "plain", *STUDENT, "--criterion=cross_entropy", "--disable-validation", "--max-update=3")
    checkpoint = tmp_path / "critic/checkpoint_last.pt"
    plain = parameters(tmp_path / "plain/checkpoint_last.pt")
    assert {name: value.shape for name, value in parameters(checkpoint).items()} == {
        name: value.shape for name, value in plain.items()
    }
    assert torch.load(checkpoint, weights_only=True)["criterion"] is None
    given = [
        data,
        "--user-dir=fairseq_dlf",
        "--path",
        checkpoint,
        "--batch-size=4",
        "--required-batch-size-multiple=1",
        "--cpu",
    ]
    assert "BLEU4" in run("fairseq-generate", *given, "--gen-subset=valid")
    assert "nll_loss" in run("fairseq-validate", *given, "--valid-subset=valid", "--task=translation")


def test_two_workers_are_one_with_two_batches(data, tmp_path):
    """Both critics begin alike and stay alike: otherwise the sums of their gradients would be others."""
    plain = [*RUN, "--dropout=0", "--sentence-avg", "--max-update=4", "--save-interval-updates=0"]
    train(data, tmp_path / "one", *plain, "--update-freq=2", "--max-epoch=2")
    meeting = [f"--distributed-init-method=file://{tmp_path}/meeting", "--distributed-backend=gloo"]
    meeting += ["--distributed-world-size=2", "--distributed-no-spawn", "--ddp-backend=legacy_ddp"]
    words = [data, "--user-dir=fairseq_dlf", *SHORT, *plain, *meeting, f"--save-dir={tmp_path}/two"]
    loopback = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    ranks = [f"--distributed-rank={rank}" for rank in (0, 1)]
    both = [Command(MODULES["fairseq-train"], *words, rank, environment=loopback) for rank in ranks]
    done = [command.wait() for command in both]
    assert [worker.status for worker in done] == [0, 0], done[0].printed[-3000:] + done[1].printed[-3000:]
    last = [tmp_path / name / "checkpoint_last.pt" for name in ("one", "two")]
    one, two = (flat({**critic_in(path), "student": parameters(path)}) for path in last)
    assert one.keys() == two.keys()
    for name, value in one.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(two[name], value, rtol=1e-3, atol=2e-5, msg=name)
    assert critic_in(last[0])["updates"] == critic_in(last[1])["updates"] == 4
