"""What each worker does, and launches that would train nothing or the same thing twice."""

from argparse import Namespace

import pytest
import torch

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.workers import Workers
from fairseq_dlf.translation.hooks.launch import (
    refuse_ignored,
    require_joined,
    require_processes,
    require_rates,
)


def test_workers_run_the_episodes_of_one_worker_with_more_turns():
    episodes = [Workers(rank, 3).episode(turn) for turn in range(2) for rank in range(3)]
    assert episodes == [Workers().episode(turn) for turn in range(6)]
    assert Workers(2, 3, shared=True).episode(1) == 1


def test_sharing_workers_take_parts():
    items = list(range(5))
    assert [Workers(rank, 2, shared=True).part(items) for rank in (0, 1)] == [[0, 2, 4], [1, 3]]
    assert Workers(1, 2).part(items) == items


def test_one_worker_needs_no_collective():
    tensor = torch.ones(2)
    assert Workers(shared=True).combine(tensor) is tensor
    assert Workers().total(3, torch.device("cpu")) == 3


def launch(monkeypatch, gpus, **arguments):
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.delenv("RANK", raising=False)
    require_processes(Namespace(**arguments))


@pytest.mark.parametrize(
    ("gpus", "arguments"),
    [
        (0, {}),
        (0, {"distributed_world_size": 1, "distributed_no_spawn": False}),
        (0, {"distributed_world_size": 2, "distributed_no_spawn": True}),
        (2, {"distributed_world_size": 2, "distributed_no_spawn": False}),
    ],
)
def test_launches_that_train(monkeypatch, gpus, arguments):
    launch(monkeypatch, gpus, **arguments)


def test_a_launch_without_processes_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="would start no process and train nothing.*torchrun"):
        launch(monkeypatch, 0, distributed_world_size=2, distributed_no_spawn=False)


def test_processes_that_train_alone_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match="each of them alone: pass --distributed-world-size 2"):
        require_joined()
    monkeypatch.setenv("WORLD_SIZE", "1")
    require_joined()


@pytest.mark.parametrize("rates", [[0.1, -1.0], [float("inf")], [float("nan")]])
def test_rates_that_end_a_run_are_named(rates):
    require_rates(None)
    require_rates([0.0, 0.1])
    with pytest.raises(InputError, match=f"--lr is {rates[-1]}, but must be finite and not negative"):
        require_rates(rates)


def test_settings_that_would_be_ignored_are_named():
    cfg = Namespace(some_setting=3, nothing=None, none=0)
    refuse_ignored(cfg, "some_setting", False, "")
    refuse_ignored(cfg, "nothing", True, "")
    refuse_ignored(cfg, "none", True, "")
    with pytest.raises(InputError, match="--some-setting 3 would be ignored, for there is X: take Y, or leave it out"):
        refuse_ignored(cfg, "some_setting", True, "there is X: take Y")
