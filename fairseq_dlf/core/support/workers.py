"""The processes that train together, and the share of each in the work."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, distributed

Item = TypeVar("Item")


class Workers(NamedTuple):
    """This process among those of a run.

    Attributes:
        rank: this process, 0 … number − 1.
        number: of processes.
        shared: whether all work on the same episode, each on a part of every batch;
            otherwise each runs its own episodes.
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
        """Return the number, within an update, of this process's `turn`-th episode.

        N workers with one turn each run the same episodes as one worker with N turns.
        """
        return turn if self.shared else turn * self.number + self.rank

    def part(self, items: Sequence[Item]) -> list[Item]:
        """Return this process's part of what the workers share."""
        return list(items[self.rank :: self.number] if self.shared else items)

    def combine(self, tensor: Tensor) -> Tensor:
        """Return the sum over the workers of a shared episode, computed in place.

        Cost: one all-reduce.
        """
        if self.shared and self.number > 1:
            distributed.all_reduce(tensor)
        return tensor

    def total(self, count: int, device: torch.device) -> int:
        """Return the sum of a count over all workers, whether or not they share episodes."""
        if self.number == 1:
            return count
        summed = torch.tensor([count], device=device)
        distributed.all_reduce(summed)
        return int(summed.item())
