"""What of the student's past ω_0 … ω_T is kept until the reverse pass has used it, and what is recomputed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import comb
from typing import NamedTuple, Protocol

from fairseq_dlf.core.storage import OnDevice, Record, Storage, StorageMaker
from fairseq_dlf.core.student import Gradients
from fairseq_dlf.core.update_rules import StudentState


class Past(NamedTuple):
    """The student before an update.

    Attributes:
        state: parameters and the update rule's slots.
        gradients: the gradients of that update's batch, where they are known.
    """

    state: StudentState
    gradients: Gradients | None


class Schedule(Protocol):
    """Chooses the states to keep; what lies between is recomputed from the one before."""

    def slots(self, steps: int) -> int:
        """How many states are kept at the same time, for so many steps."""

    def keep(self, start: int, stop: int, free: int) -> list[int]:
        """The steps to keep of a sweep from `start`, which is kept already, over the steps before `stop`.

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
        if self.every < 1:
            raise ValueError(f"checkpoints every {self.every} steps were asked for, but every must be at least 1")

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
        if self.most < 1:
            raise ValueError(f"a trajectory of {self.most} states was asked for: it needs at least 1")

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
    """Where to keep the next state of a segment whose first is kept, (1 … steps − 1)."""
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
        """Training steps that are computed again."""
        return self.stop - 1 - self.start


def sweeps(schedule: Schedule, first: int, steps: int) -> Iterator[Sweep]:
    """The sweeps of a reverse pass from step T − 1 to `first`."""
    slots = schedule.slots(steps - first)
    kept = [first, *schedule.keep(first, steps, slots - 1)]
    for stop in range(steps, first, -1):
        start = kept[-1]
        new = [step for step in schedule.keep(start, stop, slots - len(kept)) if step < stop - 1]
        yield Sweep(start, stop, frozenset(new))
        kept.extend(new)
        if start == stop - 1:
            kept.pop()


# Maps (t, the student before update t) to the gradients of that update and the state after it.
Replay = Callable[[int, Past], tuple[Gradients, StudentState]]


class Trajectory:
    """The past of one episode: filled forward, read backward once, then closed.

    Args:
        schedule: which states are kept.
        first: the earliest step that the reverse pass goes back to.
        steps: T.
        make_storage: where they are kept.
        keeps_gradients: whether to keep each state's gradients with it.
    """

    def __init__(
        self,
        schedule: Schedule,
        first: int,
        steps: int,
        make_storage: StorageMaker = OnDevice,
        keeps_gradients: bool = False,
    ):
        self.first = first
        self.steps = steps
        self.keeps_gradients = keeps_gradients
        self._schedule = schedule
        self._make_storage = make_storage
        self._storage: Storage | None = None
        slots = schedule.slots(steps - first)
        self._wanted = {first, *schedule.keep(first, steps, slots - 1)}

    def record(self, step: int, past: Past) -> None:
        """Keeps what the schedule wants of the student before update `step`."""
        if step in self._wanted:
            self._put(step, past)

    def backward(self, replay: Replay) -> Iterator[tuple[int, Past]]:
        """Yields (t, the student before update t) for t = T − 1 … first."""
        assert self._storage is not None, "nothing was recorded"
        for sweep in sweeps(self._schedule, self.first, self.steps):
            past = self._unpack(self._storage.get(sweep.start))
            if not sweep.extra_steps:
                self._storage.drop(sweep.start)
            for step in range(sweep.start, sweep.stop - 1):
                gradients, following = replay(step, past)
                if step in sweep.keep:
                    self._put(step, past._replace(gradients=gradients))
                past = Past(following, None)
            yield sweep.stop - 1, past

    def close(self) -> None:
        """Frees the storage, also of an episode that has failed."""
        if self._storage is not None:
            self._storage.close()

    def _put(self, step: int, past: Past) -> None:
        record = self._pack(past)
        if self._storage is None:
            slots = self._schedule.slots(self.steps - self.first)
            self._storage = self._make_storage(slots, sum(tensor.nbytes for tensor in record))
        self._storage.put(step, record)

    def _pack(self, past: Past) -> Record:
        if not self.keeps_gradients:
            return [past.state.params, *past.state.slots]
        assert past.gradients is not None
        loss, of_params, of_coefficients = past.gradients
        assert of_coefficients is not None
        return [loss, of_params, of_coefficients, past.state.params, *past.state.slots]

    def _unpack(self, record: Record) -> Past:
        if not self.keeps_gradients:
            return Past(StudentState(record[0], tuple(record[1:])), None)
        return Past(StudentState(record[3], tuple(record[4:])), Gradients(*record[:3]))


@dataclass(frozen=True)
class TrajectoryPlan:
    """How the past of episodes is kept: which states, and where.

    Attributes:
        schedule: which.
        make_storage: where.
    """

    schedule: Schedule = Everything()
    make_storage: StorageMaker = OnDevice

    def open(self, first: int, steps: int, keeps_gradients: bool = False) -> Trajectory:
        """A trajectory for one episode."""
        return Trajectory(self.schedule, first, steps, self.make_storage, keeps_gradients)

    def extra_steps(self, first: int, steps: int) -> int:
        """Training steps that an episode computes again, at most."""
        return sum(sweep.extra_steps for sweep in sweeps(self.schedule, first, steps))
