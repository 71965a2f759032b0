"""A memory of decisions and what came of them, from which a policy learns again."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fairseq_dlf.core.teaching.teachers.stochastic import Decision


class Record(NamedTuple):
    """A decision, and what came of it.

    Attributes:
        states: (elements, state).
        actions: (elements,), int64.
        log_prob: log π(a) of the policy that drew it.
        reward: what came of it.
        advantage: the reward minus a baseline that does not depend on it.
    """

    states: Tensor
    actions: Tensor
    log_prob: float
    reward: float
    advantage: float


@dataclass(frozen=True)
class Batch:
    """Records side by side: (n, elements, state), (n, elements), and (n,) for the rest."""

    states: Tensor
    actions: Tensor
    log_probs: Tensor
    advantages: Tensor


class Replay:
    """The last records, whichever student they are of.

    Args:
        size: how many are kept; the oldest goes first.

    Attributes:
        records: from the oldest to the newest, on the CPU.
        added: how many there have ever been.
    """

    def __init__(self, size: int):
        self.size = size
        self.records: list[Record] = []
        self.added = 0

    def add(self, decision: Decision, log_prob: float, reward: float, advantage: float) -> None:
        record = Record(decision.states.cpu(), decision.actions.cpu(), log_prob, reward, advantage)
        self.records = [*self.records, record][-self.size :]
        self.added += 1

    def draw(self, number: int, seed: int, like: Tensor) -> Batch:
        """Return records drawn evenly, with replacement, on the device of a tensor."""
        generator = torch.Generator().manual_seed(seed)
        places = torch.randint(len(self.records), (number,), generator=generator).tolist()
        drawn = [self.records[place] for place in places]
        return Batch(
            torch.stack([each.states for each in drawn]).to(like),
            torch.stack([each.actions for each in drawn]).to(like.device),
            like.new_tensor([each.log_prob for each in drawn]),
            like.new_tensor([each.advantage for each in drawn]),
        )

    def state(self) -> dict[str, Any]:
        """Return what must survive a resume."""
        return {"added": self.added, "records": [list(record) for record in self.records]}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError, TypeError, KeyError: it is none.
        """
        records = [Record(*record) for record in state["records"]]
        kinds = (Tensor, Tensor, float, float, float)
        if not all(isinstance(value, kind) for each in records for value, kind in zip(each, kinds, strict=True)):
            raise ValueError("its replay memory holds no records")
        if len({each.states.shape for each in records}) > 1 or len(records) > min(self.size, state["added"]):
            raise ValueError("its replay memory does not fit")
        self.records, self.added = records, int(state["added"])
