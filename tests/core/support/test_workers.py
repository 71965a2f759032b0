"""The share of each process in the work, with the process group played."""

import pytest
import torch
from torch import distributed

from fairseq_dlf.core.support.workers import Workers


@pytest.fixture
def group(monkeypatch):
    """Plays the second of three processes, whose sums are ten times what this one gives."""
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 3)
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: tensor.mul_(10))


@pytest.mark.parametrize("shared", [False, True])
def test_a_process_alone_shares_nothing(shared):
    alone = Workers.of_this_run(shared)
    assert alone == Workers(rank=0, number=1, shared=False)
    assert alone.total(4, torch.device("cpu")) == 4
    assert (alone.episode(2), alone.part("abc")) == (2, ["a", "b", "c"])
    assert alone.combine(torch.tensor(5)).item() == 5


@pytest.mark.parametrize(
    ("shared", "episode", "part", "summed"), [(False, 7, list("abcde"), 5), (True, 2, ["b", "e"], 50)]
)
def test_processes_share_an_episode_or_run_their_own(group, shared, episode, part, summed):
    workers = Workers.of_this_run(shared)
    assert workers == Workers(1, 3, shared)
    assert (workers.episode(2), workers.part("abcde")) == (episode, part)
    assert workers.combine(torch.tensor(5)).item() == summed
    assert workers.total(4, torch.device("cpu")) == 40
