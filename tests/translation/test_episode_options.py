"""Sizes, and what options ask of an episode."""

from types import SimpleNamespace

import pytest

from fairseq_dlf.core.storage import OnDevice, OnHost
from fairseq_dlf.core.trajectory import Binomial, Checkpoints, Everything
from fairseq_dlf.translation.episode_options import human_size, size_in_bytes, trajectory_plan


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2 * 2**30), ("500MB", 500 * 10**6), ("1.5 kib", 1536), ("1e6", 10**6), ("17", 17), (" 3 B ", 3)],
)
def test_reads_sizes(text, size):
    assert size_in_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "2 giga", "1..5MB", "-2GiB", "."])
def test_refuses_what_is_no_size(text):
    with pytest.raises(ValueError, match="is not one: write it as 2GiB"):
        size_in_bytes(text)


def test_writes_sizes():
    assert [human_size(n) for n in (17, 1536, 3 * 2**20, 5 * 2**30)] == ["17 B", "1.5 KiB", "3.0 MiB", "5.0 GiB"]


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
