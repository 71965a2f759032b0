"""What fairseq tells a task only: batches that fill gaps, and the end of an update."""

from types import SimpleNamespace

import pytest

from fairseq_dlf.translation.hooks.updates import watch_gaps, watch_steps


@pytest.fixture
def task():
    """A task that writes down what happens in it."""
    made = SimpleNamespace(happened=[])
    made.train_step = lambda *given, ignore_grad=False: made.happened.append(("train", given, ignore_grad)) or 7
    made.optimizer_step = lambda optimizer, model, update_num: made.happened.append(("step", update_num)) or 8
    return made


@pytest.mark.parametrize("by_name", [{}, {"ignore_grad": False}, {"ignore_grad": True}])
def test_a_batch_that_fills_a_gap_is_reported_before_its_step(task, by_name):
    watch_gaps(task, lambda fills: task.happened.append(fills))
    assert task.train_step("sample", "model", **by_name) == 7
    fills = by_name.get("ignore_grad", False)
    assert task.happened == [fills, ("train", ("sample", "model"), fills)]


def test_an_update_ends_after_the_optimisers_step(task):
    for name in ("first", "second"):
        watch_steps(task, lambda name=name: task.happened.append(name))
    assert task.optimizer_step("optimizer", model="model", update_num=5) == 8
    assert task.happened == [("step", 5), "first", "second"]
