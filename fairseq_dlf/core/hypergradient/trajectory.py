"""What of the student's past ω_0 … ω_T is kept until the reverse pass has used it, and what is recomputed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from fairseq_dlf.core.hypergradient.schedules import Everything, Schedule, sweeps
from fairseq_dlf.core.hypergradient.storage import OnDevice, Record, Storage, StorageMaker
from fairseq_dlf.core.hypergradient.student import Gradients
from fairseq_dlf.core.hypergradient.update_rules import StudentState


class Past(NamedTuple):
    """The student before an update.

    Attributes:
        state: parameters and the update rule's slots.
        gradients: the gradients of that update's batch, where they are known.
    """

    state: StudentState
    gradients: Gradients | None


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
