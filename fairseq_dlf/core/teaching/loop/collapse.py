"""Policy for collapsed lessons: the teacher does not learn from such a lesson, and several in a row end teaching."""

import math

from fairseq_dlf.core.hypergradient.episode import lowest_of
from fairseq_dlf.core.support.errors import StateError

MAX_COLLAPSES = 3


class CollapsedError(StateError):
    """Too many collapsed lessons in a row; the text names the last cause, and the caller adds advice."""


class CollapseWatch:
    """A counter of teacher steps without a usable lesson, with the best measure at the end of a lesson so far.

    Args:
        share: a lesson whose measure ends below this share of the best end so far counts as
            collapsed; with 0 a lesson is compared with its own start only.

    Attributes:
        in_a_row: teacher steps without a usable lesson since the last usable one.
        best: the greatest measure at the end of a usable lesson; -inf before the first.
    """

    def __init__(self, share: float = 0.0):
        self.share = share
        self.in_a_row = 0
        self.best = -math.inf
        self._cause = ""

    @property
    def floor(self) -> float:
        """The measure below which the next lesson counts as collapsed."""
        return lowest_of(self.best, self.share) if self.share and self.best > -math.inf else -math.inf

    def see(self, collapse: str | None, measure: float = 0.0) -> None:
        """Record a teacher step.

        Args:
            collapse: why its lesson was not usable; None if it was.
            measure: at the end of a usable lesson.
        """
        if collapse is None:
            self.in_a_row, self.best = 0, max(self.best, measure)
            return
        self.in_a_row += 1
        self._cause = collapse

    def require_recovery(self, advice: str) -> None:
        """Raise CollapsedError at the third collapse in a row, with its cause and advice."""
        if self.in_a_row >= MAX_COLLAPSES:
            raise CollapsedError(
                f"{MAX_COLLAPSES} lessons in a row collapsed, the last because {self._cause}. {advice}"
            )

    def state(self) -> dict[str, float]:
        """Return the state that must survive a resume."""
        # Files hold finite numbers only.
        best = {"best": self.best} if self.best > -math.inf else {}
        return {"in_a_row": self.in_a_row, **best}

    def restore(self, state: dict[str, float]) -> None:
        """Continue from a state; a resumed run that collapses had ended starts to count again."""
        self.in_a_row, self.best = int(state["in_a_row"]) % MAX_COLLAPSES, state.get("best", -math.inf)
