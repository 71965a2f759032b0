"""The episodes of an update of the teacher: what the task hands to the criterion, and what it learns from it."""

import logging
from typing import NamedTuple, Optional

from torch import Tensor

logger = logging.getLogger(__name__)


class Turn(NamedTuple):
    """What the task hands to the criterion in place of a batch.

    Attributes:
        update: of the teacher.
        turn: number of the episode within the update.
        continued: the student to continue with, (parameters,), or None.
    """

    update: int
    turn: int
    continued: Optional[Tensor]


class Ending(NamedTuple):
    """The end of a turn: why nothing can be learned from it, or None, and the student then, (parameters,)."""

    collapse: Optional[str]
    student: Tensor


class Turns:
    """The turns of the update under way.

    Args:
        continues: whether an episode continues with the student of the last good one.

    Attributes:
        good: number of episodes of the update that did not collapse.
        cause: why the last one collapsed that did.
        continued: the student to continue with, (parameters,), or None.
    """

    def __init__(self, continues: bool):
        self.good = 0
        self.cause = "the episodes of other workers collapsed"
        self.continued: Optional[Tensor] = None
        self._continues = continues
        self._update, self._turn = -1, 0

    def begin(self, update: int) -> Turn:
        """Begin an episode; with `--update-freq` an update has several."""
        if self._update != update:
            self._update, self._turn, self.good = update, -1, 0
        self._turn += 1
        return Turn(update, self._turn, self.continued)

    def end(self, ending: Ending) -> None:
        """Take note of how the episode ended."""
        if ending.collapse is not None:
            self.cause = ending.collapse
            logger.warning(f"episode collapsed, the teacher does not learn from it: {ending.collapse}")
            return
        self.good += 1
        if self._continues:
            self.continued = ending.student
