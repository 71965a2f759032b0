"""What of the student's past ω_0 … ω_T is kept until the reverse pass has used it, and what is recomputed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from fairseq_dlf.core.hypergradient.schedules import Binomial, Everything, Schedule, sweeps
from fairseq_dlf.core.hypergradient.storage import OnDevice, Record, Storage, StorageMaker
from fairseq_dlf.core.hypergradient.student import Gradients
from fairseq_dlf.core.hypergradient.update_rules import StudentState, UpdateRule
from fairseq_dlf.core.support.byte_sizes import human_size
from fairseq_dlf.core.support.errors import InputError


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
        """Keep what the schedule wants of the student before update `step`."""
        if step in self._wanted:
            self._put(step, past)

    def backward(self, replay: Replay) -> Iterator[tuple[int, Past]]:
        """Yield (t, the student before update t) for t = T − 1 … first."""
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
        """Free the storage, also of an episode that has failed."""
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


def record_bytes(rule: UpdateRule, parameters: int, coefficients: int = 0, keeps_gradients: bool = False) -> int:
    """Return the bytes of what is kept of one step of a float32 student, without allocating any.

    Args:
        rule: the student's update rule: its slots are kept with ω.
        parameters: size of ω.
        coefficients: size of Φ; matters only with `keeps_gradients`.
        keeps_gradients: whether a step's loss and gradients are kept with its state.
    """
    params, phi, loss = (torch.empty(size, device="meta") for size in (parameters, coefficients, ()))
    state = rule.initial(params)
    kept = [state.params, *state.slots]
    if keeps_gradients:
        kept += [loss, params, phi]
    return sum(tensor.nbytes for tensor in kept)


@dataclass(frozen=True)
class TrajectoryPlan:
    """How the past of episodes is kept: which states, and where.

    Attributes:
        schedule: which.
        make_storage: where.
    """

    schedule: Schedule = Everything()
    make_storage: StorageMaker = OnDevice

    @classmethod
    def within(cls, memory_bytes: int, record_bytes: int, make_storage: StorageMaker = OnDevice) -> "TrajectoryPlan":
        """Return the plan that computes the fewest steps again in so much memory.

        Args:
            memory_bytes: room for all that is kept.
            record_bytes: the size of what is kept of one step (`record_bytes`).

        Raises:
            InputError: not one step fits.
        """
        if memory_bytes < record_bytes:
            raise InputError(
                f"the memory for the trajectory is {human_size(memory_bytes)}, but one kept step takes "
                f"{human_size(record_bytes)}: give room for at least one, better for ten",
                setting="trajectory_memory",
            )
        return cls(Binomial(memory_bytes // record_bytes), make_storage)

    def open(self, first: int, steps: int, keeps_gradients: bool = False) -> Trajectory:
        """Return a trajectory for one episode."""
        return Trajectory(self.schedule, first, steps, self.make_storage, keeps_gradients)

    def extra_steps(self, first: int, steps: int) -> int:
        """Return how many training steps an episode computes again, at most."""
        return sum(sweep.extra_steps for sweep in sweeps(self.schedule, first, steps))

    def describe(self, first: int, steps: int, record_bytes: int) -> str:
        """Say what an episode keeps and what it computes again.

        Args:
            first: the earliest step that the reverse pass goes back to.
            steps: T.
            record_bytes: the size of what is kept of one step (`record_bytes`).
        """
        kept = self.schedule.slots(steps - first)
        return (
            f"trajectory: {kept:,} of {steps - first:,} steps are kept at a time, {human_size(record_bytes)} each, "
            f"{human_size(kept * record_bytes)} in all; {self.extra_steps(first, steps):,} training steps are "
            "computed again"
        )
