"""The episodes of an update of the teacher: what the task hands to the criterion, and what it learns from it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from torch import Tensor

logger = logging.getLogger(__name__)


class Turn(NamedTuple):
    """What the task hands to the criterion in place of a batch.

    Attributes:
        update: of the teacher.
        turn: number of the episode within the update.
        continued: the student to continue with, (parameters,), or None.
        member: number of the student in the population.
    """

    update: int
    turn: int
    continued: Optional[Tensor]
    member: int = 0


class Ending(NamedTuple):
    """The end of a turn: why nothing can be learned from it, or None, and the student then, (parameters,)."""

    collapse: Optional[str]
    student: Tensor


class Turns:
    """The turns of the update under way.

    Args:
        continues: of each member, whether an episode continues with the student of its last good one.
        episode: the number, within an update, of this worker's n-th episode among those of all workers.

    Attributes:
        good: number of episodes of the update that did not collapse.
        cause: why the last one collapsed that did.
        continued: the students to continue with, (parameters,) each, by member.
    """

    def __init__(self, continues: Sequence[bool], episode: Callable[[int], int]):
        self.good = 0
        self.cause = "the episodes of other workers collapsed"
        self.continued: dict[int, Tensor] = {}
        self._continues = continues
        self._episode = episode
        self._update, self._turn, self._member = -1, 0, 0

    def begin(self, update: int) -> Turn:
        """Begin an episode; with `--update-freq` an update has several, which teach the members in turn."""
        if self._update != update:
            self._update, self._turn, self.good = update, -1, 0
        self._turn += 1
        self._member = self._episode(self._turn) % len(self._continues)
        return Turn(update, self._turn, self.continued.get(self._member), self._member)

    def end(self, ending: Ending) -> None:
        """Take note of how the episode ended."""
        if ending.collapse is not None:
            self.cause = ending.collapse
            logger.warning(f"episode{self._whose} collapsed, the teacher does not learn from it: {ending.collapse}")
            return
        self.good += 1
        if self._continues[self._member]:
            self.continued[self._member] = ending.student

    @property
    def _whose(self) -> str:
        return f" of student {self._member + 1}" if len(self._continues) > 1 else ""

    # Checkpoints ----------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Return the students to continue with, on the CPU."""
        return {kept_as(member): student.cpu() for member, student in self.continued.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue with the students of `state`, among which there may be other entries."""
        names = {member: kept_as(member) for member in range(len(self._continues))}
        self.continued = {member: state[name] for member, name in names.items() if name in state}


def kept_as(member: int) -> str:
    """Return a member's name in a checkpoint; the first has that of versions with one student only."""
    return f"continued_student_{member + 1}" if member else "continued_student"
