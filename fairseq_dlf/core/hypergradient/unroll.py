"""The forward pass: T student updates, recorded where a trajectory is given."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.curvature import linearize_forward
from fairseq_dlf.core.hypergradient.student import Buffers, Gradients, Point, Student
from fairseq_dlf.core.hypergradient.trajectory import Past, Trajectory
from fairseq_dlf.core.hypergradient.update_rules import StudentState, UpdateRule


class Step(NamedTuple):
    """All that one student update depends on besides the student's state.

    Attributes:
        coefficients: Φ_t, (coefficients,), without a graph.
        batch: the front end's batch; the same object, or an equal one, each time the step is drawn.
        seed: seeds the dropout masks, so that they can be replayed.
        learning_rate: η_t.
    """

    coefficients: Tensor
    batch: Any
    seed: int
    learning_rate: float

    def at(self, params: Tensor) -> Point:
        """Return the point at which this step's gradients are taken, for a student at ω."""
        return Point(params, self.coefficients, self.batch, self.seed)


StepSource = Callable[[int], Step]


# Is shown the student before update t, in the forward pass only, for a step that depends on it.
Observer = Callable[[int, Tensor, Buffers], None]


class Watch(Protocol):
    """Is told of the progress of an episode, which may take hours."""

    def forward(self, done: int) -> None:
        """Tell that so many student updates are done."""

    def reverse(self, step: int, norm: float) -> None:
        """Tell that the reverse pass has reached ω before update `step`, where ‖∂M̃/∂ω‖ is `norm`."""


class Unroll(NamedTuple):
    """What T student updates left behind.

    Attributes:
        final: the state after the last update.
        losses: the student's loss before each update, (T,).
        buffers: the module's buffers after the last update, by name.
    """

    final: StudentState
    losses: Tensor
    buffers: Buffers


def unroll(
    student: Student,
    rule: UpdateRule,
    source: StepSource,
    start: StudentState,
    steps: int,
    *,
    trajectory: Trajectory | None = None,
    watch: Watch | None = None,
    observe: Observer | None = None,
    buffers: Buffers | None = None,
    first: int = 0,
) -> Unroll:
    """Train the student for `steps` updates from `start`, recording states where a trajectory is given.

    Args:
        source: gives step t.
        observe: sees (t, ω_t, buffers) before step t is drawn from `source`; must not change them.
        buffers: where the module's buffers start, by default as they are in the module.
        first: number of the first update, for a run in several parts.

    Raises:
        InputError: the trajectory keeps graphs, but batches are cut into micro-batches.

    Cost: `steps` training steps; a step whose graph is kept takes up to a fifth longer.
    """
    state, losses = start, []
    keeps_gradients = trajectory is not None and trajectory.keeps_gradients
    buffers = student.buffers() if buffers is None else _copies(buffers)
    for t in range(first, first + steps):
        if observe is not None:
            observe(t, state.params, buffers)
        past, step = Past(state, None), source(t)
        if trajectory is not None and trajectory.keeps_graph(t):
            # The graph refers to them: the next step must not change them.
            buffers = _copies(buffers)
            past = Past(state, *linearize_forward(student, step.at(state.params), buffers, rule.reads_gradient))
        gradients, following = updated(student, rule, past, step, keeps_gradients, buffers)
        if trajectory is not None:
            trajectory.record(t, past._replace(gradients=gradients))
        state = following
        losses.append(gradients.loss)
        if watch is not None:
            watch.forward(t + 1)
    return Unroll(state, torch.stack(losses), buffers)


def _copies(buffers: Buffers) -> Buffers:
    return {name: buffer.clone() for name, buffer in buffers.items()}


def updated(
    student: Student,
    rule: UpdateRule,
    past: Past,
    step: Step,
    of_coefficients: bool,
    buffers: Buffers | None = None,
) -> tuple[Gradients, StudentState]:
    """Return the gradients of one update, computed unless they are known, and the state after it."""
    state, known, _ = past
    gradients = known or student.gradients(step.at(state.params), of_coefficients, buffers)
    with torch.no_grad():
        return gradients, rule.step(state, gradients.params, step.learning_rate)
