"""The processes that train together, and what each of them does."""

import os
from typing import List, NamedTuple, Sequence, TypeVar

import torch
from torch import Tensor, distributed

Item = TypeVar("Item")


class Workers(NamedTuple):
    """This process among those of a run.

    Attributes:
        rank: this process, 0 … number − 1.
        number: of processes.
        shared: whether all work on the same episode, each on a part of every batch;
            otherwise each runs episodes of its own.
    """

    rank: int = 0
    number: int = 1
    shared: bool = False

    @classmethod
    def of_this_run(cls, shared: bool) -> "Workers":
        if not distributed.is_initialized():
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size(), shared)

    def episode(self, turn: int) -> int:
        """The number within an update of this process's `turn`-th episode.

        N workers with one turn each run the very episodes of one worker with N turns.
        """
        return turn if self.shared else turn * self.number + self.rank

    def part(self, items: Sequence[Item]) -> List[Item]:
        """This process's part of what the workers share."""
        return list(items[self.rank :: self.number] if self.shared else items)

    def combine(self, tensor: Tensor) -> Tensor:
        """The sum over the workers of a shared episode, in place. Cost: one all-reduce."""
        if self.shared and self.number > 1:
            distributed.all_reduce(tensor)
        return tensor

    def total(self, count: int, device: torch.device) -> int:
        """The sum of a count over all workers, whatever they share."""
        if self.number == 1:
            return count
        summed = torch.tensor([count], device=device)
        distributed.all_reduce(summed)
        return int(summed.item())


_COMMAND = (
    "torchrun --nproc-per-node N --no-python fairseq-train … --distributed-world-size N; on CPUs torchrun "
    "--nproc-per-node N --no-python bash -c 'fairseq-train … --cpu --distributed-world-size N "
    "--distributed-no-spawn --distributed-init-method env:// --distributed-rank $RANK --distributed-backend gloo "
    "--ddp-backend legacy_ddp'"
)


def require_processes(args) -> None:
    """Refuses a launch in which fairseq would start no process, train nothing, and report success.

    fairseq spawns one process for each GPU it sees; without any it spawns none.

    Args:
        args: parsed arguments of `fairseq-train`; others pass.

    Raises:
        ValueError: with the command to use.
    """
    number = getattr(args, "distributed_world_size", None) or 1
    spawns = not getattr(args, "distributed_no_spawn", True) and "RANK" not in os.environ
    if number > 1 and spawns and torch.cuda.device_count() == 0:
        raise ValueError(
            f"--distributed-world-size {number} was asked for where there is no GPU: fairseq would start no process "
            f"and train nothing. Start the processes yourself: {_COMMAND}"
        )


def require_joined() -> None:
    """Refuses a process that torchrun has started, but that trains alone.

    Raises:
        ValueError: with the command to use.
    """
    number = int(os.environ.get("WORLD_SIZE", 1))
    if number > 1 and "RANK" in os.environ and not distributed.is_initialized():
        raise ValueError(
            f"{number} processes were started, but fairseq trains each of them alone: pass "
            f"--distributed-world-size {number} ({_COMMAND})"
        )
