"""Where the student's past ω_0 … ω_T lives until the reverse pass has used it."""

from collections.abc import Callable, Iterator
from typing import Protocol

from fairseq_dlf.core.update_rules import StudentState

Replay = Callable[[int, StudentState], StudentState]


class Trajectory(Protocol):
    """A store of student states, filled forward and read backward once."""

    def record(self, step: int, state: StudentState) -> None:
        """Stores what is needed of the state before update `step`."""

    def backward(self, first: int, steps: int, replay: Replay) -> Iterator[tuple[int, StudentState]]:
        """Yields (t, state before update t) for t = steps − 1 … first.

        Args:
            replay: maps (t, state before update t) to the state after it.
        """


class Everything:
    """All states. Cost: T student states of memory, no recomputation."""

    def __init__(self) -> None:
        self._states: dict[int, StudentState] = {}

    def record(self, step: int, state: StudentState) -> None:
        self._states[step] = state

    def backward(self, first: int, steps: int, replay: Replay) -> Iterator[tuple[int, StudentState]]:
        for step in range(steps - 1, first - 1, -1):
            # Each state is read once: freeing it now lets memory fall as the pass proceeds.
            yield step, self._states.pop(step)


class Checkpoints:
    """Every `every`-th state, the others recomputed segment by segment.

    Cost: T/every + every student states of memory (least at every = √T), and up to
    one further forward step of the student for each step of the reverse pass.
    """

    def __init__(self, every: int):
        if every < 1:
            raise ValueError(f"checkpoints every {every} steps were asked for, but every must be at least 1")
        self.every = every
        self._states: dict[int, StudentState] = {}

    def record(self, step: int, state: StudentState) -> None:
        if step % self.every == 0:
            self._states[step] = state

    def backward(self, first: int, steps: int, replay: Replay) -> Iterator[tuple[int, StudentState]]:
        stop = steps
        while stop > first:
            start = (stop - 1) // self.every * self.every
            segment = [self._states.pop(start)]
            for step in range(start, stop - 1):
                segment.append(replay(step, segment[-1]))
            for step in range(stop - 1, max(start, first) - 1, -1):
                yield step, segment.pop()
            stop = start
