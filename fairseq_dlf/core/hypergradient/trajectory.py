"""What of the student's past ω_0 … ω_T is kept until the reverse pass has used it, and what is recomputed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from fairseq_dlf.core.hypergradient.curvature import Linearization
from fairseq_dlf.core.hypergradient.schedules import Binomial, Everything, Schedule, sweeps
from fairseq_dlf.core.hypergradient.storage import OnDevice, Record, Storage, StorageMaker
from fairseq_dlf.core.hypergradient.student import Gradients
from fairseq_dlf.core.hypergradient.update_rules import StudentState, UpdateRule
from fairseq_dlf.core.support.byte_sizes import human_size
from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.support.errors import InputError


class Past(NamedTuple):
    """The student before an update.

    Attributes:
        state: parameters and the update rule's slots.
        gradients: the gradients of that update's batch, where they are known.
        linearization: the exact derivative of that update's gradient, where the graph is kept.
    """

    state: StudentState
    gradients: Gradients | None
    linearization: Linearization | None = None


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
        graphs: of how many of the last steps the graph is kept, with the state where it was computed.
    """

    def __init__(
        self,
        schedule: Schedule,
        first: int,
        steps: int,
        make_storage: StorageMaker = OnDevice,
        keeps_gradients: bool = False,
        graphs: int = 0,
    ):
        self.first = first
        self.steps = steps
        self.keeps_gradients = keeps_gradients
        self._schedule = schedule
        self._make_storage = make_storage
        self._storage: Storage | None = None
        # The first of the steps whose graph is kept: the schedule has those before it.
        self._stop = max(first, steps - graphs)
        self._with_graph: dict[int, Past] = {}
        slots = schedule.slots(self._stop - first)
        self._wanted = {first, *schedule.keep(first, self._stop, slots - 1)}

    def keeps_graph(self, step: int) -> bool:
        """Return whether the past of this step is to be recorded with its linearisation."""
        return step >= self._stop

    def record(self, step: int, past: Past) -> None:
        """Keep what is wanted of the student before update `step`."""
        if self.keeps_graph(step):
            # The graph knows the gradient, if the update rule needs it.
            self._with_graph[step] = past._replace(gradients=None)
        elif step in self._wanted:
            self._put(step, past)

    def backward(self, replay: Replay) -> Iterator[tuple[int, Past]]:
        """Yield (t, the student before update t) for t = T − 1 … first."""
        for step in range(self.steps - 1, self._stop - 1, -1):
            yield step, self._with_graph.pop(step)
        for sweep in sweeps(self._schedule, self.first, self._stop):
            assert self._storage is not None, "nothing was recorded"
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
        """Free graphs and storage, also of an episode that has failed."""
        self._with_graph.clear()
        if self._storage is not None:
            self._storage.close()

    def _put(self, step: int, past: Past) -> None:
        record = self._pack(past)
        if self._storage is None:
            slots = self._schedule.slots(self._stop - self.first)
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
    """How the past of episodes is kept: which states, and where; and graphs, where the student is.

    Attributes:
        schedule: which.
        make_storage: where.
        graphs: of how many of the last steps the forward pass keeps the graph of the gradient, for exact products. It
            does not change them: the same operations in the same order.

    Cost: a kept graph takes the memory that `graph_bytes` tells, until the reverse pass reaches its step, and saves
    about one training step.
    """

    schedule: Schedule = Everything()
    make_storage: StorageMaker = OnDevice
    graphs: int = 0

    def __post_init__(self) -> None:
        require_at_least(0, graphs=self.graphs)

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

    def with_graphs(
        self, memory_bytes: int, record_bytes: int, horizon: int, measured: Callable[[], int]
    ) -> "TrajectoryPlan":
        """Return the plan that keeps also graphs, in what the states of all steps leave of the memory.

        A state saves up to as much as a graph and is smaller, so there are graphs only once all states fit.

        Args:
            memory_bytes: room for states and graphs together, on the student's device.
            record_bytes: the size of what is kept of one step besides the graph (`record_bytes`).
            horizon: how many steps are reversed.
            measured: gives the size of one step's graph (`graph_bytes`); called only if states leave memory.
        """
        room = memory_bytes - horizon * record_bytes
        return replace(self, graphs=min(horizon, room // max(1, measured())) if room > 0 else 0)

    def open(self, first: int, steps: int, keeps_gradients: bool = False) -> Trajectory:
        """Return a trajectory for one episode."""
        return Trajectory(self.schedule, first, steps, self.make_storage, keeps_gradients, self.graphs)

    def extra_steps(self, first: int, steps: int) -> int:
        """Return how many training steps an episode computes again, at most."""
        return sum(sweep.extra_steps for sweep in sweeps(self.schedule, first, max(first, steps - self.graphs)))

    def describe(self, first: int, steps: int, record_bytes: int) -> str:
        """Say what an episode keeps and what it computes again.

        Args:
            first: the earliest step that the reverse pass goes back to.
            steps: T.
            record_bytes: the size of what is kept of one step (`record_bytes`).
        """
        graphs = min(self.graphs, steps - first)
        kept = self.schedule.slots(steps - first - graphs) + graphs
        told = f"; the graphs of the last {graphs:,} steps are kept as well" if graphs else ""
        return (
            f"trajectory: {kept:,} of {steps - first:,} steps are kept at a time, {human_size(record_bytes)} each, "
            f"{human_size(kept * record_bytes)} in all; {self.extra_steps(first, steps):,} training steps are "
            f"computed again{told}"
        )
