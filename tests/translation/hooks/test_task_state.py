"""What a criterion keeps: saved with every checkpoint, restored by a resume, not inherited by a new run."""

from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.cross_entropy import CrossEntropyCriterion

from fairseq_dlf.translation.hooks.task_state import EXTRA_STATE_KEY, keep, kept, restore
from fairseq_dlf.translation.hooks.updates import watch_updates
from tests.translation.tiny_runs import STUDENT, parameters, train


@register_criterion("test_counter")
class Counter(CrossEntropyCriterion):
    """Weighs each batch by a third more than the one before it, and remembers the weight."""

    def __init__(self, task, sentence_avg):
        super().__init__(task, sentence_avg)
        watch_updates(task, self._count)

    def _count(self, done):
        state = kept(self.task, "counter") or {"weight": torch.ones((), dtype=torch.float64), "updates": []}
        state["weight"] += state["weight"] / 3
        state["updates"].append(done)
        keep(self.task, "counter", state)
        self.weight = state["weight"]

    def forward(self, model, sample, reduce=True):
        loss, *more = super().forward(model, sample, reduce)
        return (loss * float(self.weight) if model.training else loss), *more


def saved(checkpoint):
    return torch.load(checkpoint, weights_only=True)["extra_state"].get(EXTRA_STATE_KEY)


COUNTING = [*STUDENT, "--lr=0.05", "--criterion=test_counter", "--disable-validation", "--save-interval-updates=1"]
TASKS = {"translation": [], "dlf_translation": ["--task=dlf_translation", "--no-dev-bleu"]}


@pytest.mark.parametrize("task", TASKS)
def test_a_resumed_run_goes_on_with_the_state_bit_for_bit(data, tmp_path, task):
    options = [*COUNTING, *TASKS[task], "--max-update=6"]
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    train(data, straight, *options)
    resumed.mkdir()
    (resumed / "checkpoint_last.pt").write_bytes((straight / "checkpoint_1_3.pt").read_bytes())
    assert saved(resumed / "checkpoint_last.pt")["counter"]["updates"] == [0, 1, 2]
    train(data, resumed, *options)
    wanted, found = (saved(folder / "checkpoint_last.pt")["counter"] for folder in (straight, resumed))
    assert found["updates"] == wanted["updates"] == [0, 1, 2, 3, 4, 5]
    assert found["weight"].dtype == torch.float64
    assert torch.equal(found["weight"], wanted["weight"])
    mine, theirs = (parameters(folder / "checkpoint_last.pt") for folder in (resumed, straight))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


NEW_RUNS = {
    "finetune": ["--finetune-from-model={other}"],
    "reset": ["--restore-file={other}", "--reset-optimizer", "--reset-dataloader", "--reset-meters"],
}


@pytest.mark.parametrize("name", NEW_RUNS)
def test_a_new_run_inherits_no_state(data, tmp_path, name):
    train(data, tmp_path / "other", *COUNTING, "--max-update=3")
    start = [option.format(other=tmp_path / "other/checkpoint_last.pt") for option in NEW_RUNS[name]]
    train(data, tmp_path / "new", *COUNTING, *start, "--max-update=2")
    assert saved(tmp_path / "new/checkpoint_last.pt")["counter"]["updates"] == [0, 1]
    if name == "finetune":
        # A resume of the new run goes on with the state of the new run.
        train(data, tmp_path / "new", *COUNTING, *start, "--max-update=4")
        assert saved(tmp_path / "new/checkpoint_last.pt")["counter"]["updates"] == [0, 1, 2, 3]


def test_a_run_that_keeps_nothing_saves_nothing(data, tmp_path):
    train(data, tmp_path / "other", *COUNTING, "--max-update=2")
    plain = [*STUDENT, "--criterion=cross_entropy", "--disable-validation"]
    other = tmp_path / "other/checkpoint_last.pt"
    train(data, tmp_path / "plain", *plain, f"--finetune-from-model={other}", "--max-update=1")
    assert saved(tmp_path / "plain/checkpoint_last.pt") is None
    # It may resume with another criterion, whose states it does not drag along.
    resume = [f"--restore-file={other}", "--reset-optimizer", "--reset-meters", "--max-update=5"]
    train(data, tmp_path / "resumed", *plain, *resume)
    assert saved(tmp_path / "resumed/checkpoint_last.pt") is None


# Without a run ----------------------------------------------------------------


def saving(task):
    return task.get_checkpoint_dict()[EXTRA_STATE_KEY]


def test_states_are_saved_as_they_stand_then():
    task = SimpleNamespace()
    assert kept(task, "critic") is None
    weight = torch.zeros(4)
    keep(task, "critic", {"weight": weight[:2], "parts": [1, ("two", None, True)]})
    weight += 3
    found = saving(task)["critic"]
    assert found["weight"].tolist() == [3, 3]
    assert found["weight"].untyped_storage().nbytes() == 8
    assert found["parts"] == [1, ("two", None, True)]
    weight += 1
    assert found["weight"].tolist() == [3, 3]
    assert kept(task, "critic")["weight"].tolist() == [4, 4]
    keep(task, "critic", 0.5)
    assert saving(task) == {"critic": 0.5}


def test_a_restored_state_is_saved_again_once_its_owner_has_read_it():
    task, extra_state = SimpleNamespace(), {EXTRA_STATE_KEY: {"mine": 1, "theirs": 2}, "best": 3}
    restore(task, extra_state, updates=7)
    assert extra_state == {"best": 3}
    assert not hasattr(task, "get_checkpoint_dict")
    assert kept(task, "mine") == 1
    assert kept(task, "mine") == 1
    assert saving(task) == {"mine": 1}
    keep(task, "theirs", 5)
    assert kept(task, "theirs") == 5


@pytest.mark.parametrize(("extra_state", "updates"), [(None, 3), ({}, 3), ({EXTRA_STATE_KEY: {"mine": 1}}, 0)])
def test_nothing_is_restored(extra_state, updates):
    task = SimpleNamespace()
    restore(task, extra_state, updates)
    assert kept(task, "mine") is None


def test_what_a_task_saves_itself_stays():
    class Task:
        number = 4

        def get_checkpoint_dict(self):
            return {"Task": {"number": self.number}}

    task = Task()
    keep(task, "mine", 1)
    keep(task, "more", 2)
    assert task.get_checkpoint_dict() == {"Task": {"number": 4}, EXTRA_STATE_KEY: {"mine": 1, "more": 2}}


class Pair(NamedTuple):
    first: int


@pytest.mark.parametrize("value", [Pair(1), {1, 2}, object()])
def test_values_that_cannot_be_read_back_are_refused(value):
    task = SimpleNamespace()
    keep(task, "mine", {"value": [value]})
    with pytest.raises(TypeError, match=f"keeps a {type(value).__name__}: only tensors and plain values"):
        saving(task)
