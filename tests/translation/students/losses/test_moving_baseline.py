"""The moving average of a figure: over updates, batches and workers; saved with the run."""

import pytest

from fairseq_dlf.translation.hooks.task_state import kept
from fairseq_dlf.translation.students.losses.moving_baseline import STATE, MovingBaseline
from tests.translation.conftest import TinyTask


def outputs(*means):
    """What the batches of an update report."""
    return [{"dlf_logs": 1, "reward": mean} for mean in means]


def test_it_is_a_weighted_mean_of_past_updates():
    task = TinyTask()
    moving = MovingBaseline(task, decay=0.5, figure="reward")
    assert moving.value == 0.0
    for means in ([0.4], [0.1, 0.3], [0.8]):
        moving._observe(outputs(*means))
    assert moving.value == pytest.approx((0.8 + 0.5 * 0.2 + 0.25 * 0.4) / 1.75)


def test_sums_over_workers_count_as_their_mean():
    """fairseq adds up the logs of workers."""
    one, two = (MovingBaseline(TinyTask(), decay=0.9, figure="reward") for _ in range(2))
    one._observe(outputs(0.2, 0.6))
    two._observe([{"dlf_logs": 2, "reward": 0.8}])
    assert one.value == two.value == pytest.approx(0.4)


def test_validation_does_not_move_it():
    moving = MovingBaseline(TinyTask(), decay=0.9, figure="reward")
    moving._observe([{"loss": 3.0}])
    moving._observe([])
    assert moving.value == 0.0


def test_it_watches_what_fairseq_logs_and_is_kept_with_the_task():
    task, logged = TinyTask(), []
    task.reduce_metrics = lambda outputs, criterion: logged.append(outputs)
    moving = MovingBaseline(task, decay=0.9, figure="reward")
    task.reduce_metrics(outputs(0.25), None)
    assert logged == [outputs(0.25)]
    assert moving.value == 0.25
    assert kept(task, STATE) == {"sum": 0.25, "weight": 1.0}
