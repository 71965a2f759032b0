"""What options ask of an episode."""

from types import SimpleNamespace

import pytest

from fairseq_dlf.core.hypergradient.schedules import Binomial, Checkpoints, Everything
from fairseq_dlf.core.hypergradient.storage import OnDevice, OnHost
from fairseq_dlf.translation.episodes.options import trajectory_plan


def options(**given):
    defaults = {
        "trajectory": "everything",
        "checkpoint_every": 0,
        "trajectory_memory": None,
        "trajectory_storage": "device",
        "trajectory_dir": None,
        "truncate": 0,
        "student_steps": 100,
    }
    return SimpleNamespace(**(defaults | given))


@pytest.mark.parametrize(
    ("given", "schedule"),
    [
        ({}, Everything()),
        ({"trajectory": "checkpoints"}, Checkpoints(10)),
        ({"trajectory": "checkpoints", "truncate": 25}, Checkpoints(5)),
        ({"trajectory": "checkpoints", "checkpoint_every": 7}, Checkpoints(7)),
        ({"trajectory_memory": "10MB"}, Binomial(9)),
    ],
)
def test_schedules(given, schedule):
    assert trajectory_plan(options(**given), record_bytes=1_100_000).schedule == schedule


def test_storages():
    assert trajectory_plan(options(), 1).make_storage is OnDevice
    assert trajectory_plan(options(trajectory_storage="host"), 1).make_storage is OnHost
