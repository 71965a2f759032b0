"""Which states of the student's past are kept; what lies between is recomputed from the one before."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb
from typing import NamedTuple, Protocol

from fairseq_dlf.core.support.checks import require_at_least


class Schedule(Protocol):
    """Chooses the states to keep; what lies between is recomputed from the one before."""

    def slots(self, steps: int) -> int:
        """Return how many states are kept at the same time, for so many steps."""

    def keep(self, start: int, stop: int, free: int) -> list[int]:
        """Return the steps to keep of a sweep from `start`, which is kept already, over the steps before `stop`.

        Args:
            free: how many may be kept besides.
        """


@dataclass(frozen=True)
class Everything:
    """All states. Cost: T student states of memory, no recomputation."""

    def slots(self, steps: int) -> int:
        return steps

    def keep(self, start: int, stop: int, free: int) -> list[int]:
        return list(range(start + 1, stop))


@dataclass(frozen=True)
class Checkpoints:
    """Every `every`-th state, the others recomputed segment by segment.

    Cost: about T/every + every student states of memory (least at every = √T), and up to
    one further training step for each step of the reverse pass.
    """

    every: int

    def __post_init__(self) -> None:
        require_at_least(1, every=self.every)

    def slots(self, steps: int) -> int:
        return min(steps, -(-steps // self.every) + self.every - 1)

    def keep(self, start: int, stop: int, free: int) -> list[int]:
        within = range(start + 1, stop)
        if len(within) <= free:
            return list(within)
        marks = list(range(start + self.every, stop, self.every))
        # The last segment comes first in the reverse pass: it need not be computed twice.
        return marks + list(range((marks[-1] if marks else start) + 1, stop))


@dataclass(frozen=True)
class Binomial:
    """As many states as `most` allows, so placed that the fewest steps are recomputed.

    With s states, r sweeps over every step reach back C(s + r, s) steps: 22 states reach
    256 steps at one further training step each, 9 at two.

    Source: Griewank and Walther, "Algorithm 799: revolve", 2000.
    """

    most: int

    def __post_init__(self) -> None:
        require_at_least(1, most=self.most)

    def slots(self, steps: int) -> int:
        return min(steps, self.most)

    def keep(self, start: int, stop: int, free: int) -> list[int]:
        kept: list[int] = []
        while free > 0 and stop - start > 1:
            start += _advance(stop - start, free + 1)
            kept.append(start)
            free -= 1
        return kept


def _advance(steps: int, slots: int) -> int:
    """Return where to keep the next state of a segment whose first is kept, (1 … steps − 1)."""
    sweeps = 1
    while comb(slots + sweeps, slots) < steps:
        sweeps += 1
    return min(comb(slots + sweeps - 1, slots), steps - comb(slots + sweeps - 2, slots - 1))


class Sweep(NamedTuple):
    """How the reverse pass gets the state before its step `stop` − 1.

    Attributes:
        start: the kept state that it starts from; where this is stop − 1 itself, it is not needed again.
        stop: one after the step.
        keep: steps on the way whose states are kept for later.
    """

    start: int
    stop: int
    keep: frozenset[int]

    @property
    def extra_steps(self) -> int:
        """Return how many training steps are computed again."""
        return self.stop - 1 - self.start


def sweeps(schedule: Schedule, first: int, steps: int) -> Iterator[Sweep]:
    """Yield the sweeps of a reverse pass from step T − 1 to `first`."""
    slots = schedule.slots(steps - first)
    kept = [first, *schedule.keep(first, steps, slots - 1)]
    for stop in range(steps, first, -1):
        start = kept[-1]
        new = [step for step in schedule.keep(start, stop, slots - len(kept)) if step < stop - 1]
        yield Sweep(start, stop, frozenset(new))
        kept.extend(new)
        if start == stop - 1:
            kept.pop()
