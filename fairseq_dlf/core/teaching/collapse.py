"""What happens when lessons collapse: the teacher does not learn from one, and a run of them ends teaching."""

from fairseq_dlf.core.support.errors import StateError

MAX_COLLAPSES = 3


class CollapsedError(StateError):
    """Too many lessons collapsed in a row; the text names the last cause, the caller adds advice."""


class CollapseWatch:
    """Counts teacher steps without a usable lesson, and knows how well a lesson has ended so far.

    Args:
        share: a lesson whose measure ends below this share of the best end so far counts as
            collapsed; 0 leaves the judgement to each lesson's own start.

    Attributes:
        in_a_row: teacher steps without a usable lesson since the last usable one.
        best: the greatest measure at the end of a usable lesson.
    """

    def __init__(self, share: float = 0.0):
        self.share = share
        self.in_a_row = 0
        self.best = 0.0
        self._cause = ""

    @property
    def floor(self) -> float:
        """The measure below which the next lesson counts as collapsed."""
        return self.share * self.best

    def see(self, collapse: str | None, measure: float = 0.0) -> None:
        """Take note of a teacher step: why no lesson was usable, or the measure at the end of one that was."""
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
        """What must survive a resume."""
        return {"in_a_row": self.in_a_row, "best": self.best}

    def restore(self, state: dict[str, float]) -> None:
        """Go on from a state; who resumes a run that its collapses have ended has seen them."""
        self.in_a_row, self.best = int(state["in_a_row"]) % MAX_COLLAPSES, state["best"]
