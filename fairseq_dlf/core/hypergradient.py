"""The reverse pass: from ∂M̃/∂ω_T to ∂M̃/∂Φ_t through the student's own updates (RMD)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fairseq_dlf.core.curvature import Curvature
from fairseq_dlf.core.student import Student
from fairseq_dlf.core.trajectory import Trajectory
from fairseq_dlf.core.update_rules import StudentState, UpdateRule, pull_back


class Step(NamedTuple):
    """All that one student update depends on besides the student's state.

    Attributes:
        coefficients: Φ_t, (coefficients,), without a graph.
        batch: the front end's batch; must be the same object or equal when asked for again.
        seed: seeds the dropout masks, so that they can be replayed.
        learning_rate: η_t.
    """

    coefficients: Tensor
    batch: Any
    seed: int
    learning_rate: float


StepSource = Callable[[int], Step]


class NonFiniteCotangentError(RuntimeError):
    """The reverse pass met a cotangent that is not finite: the unroll is unstable."""


class Unroll(NamedTuple):
    """What T student updates left behind.

    Attributes:
        final: the state after the last update.
        losses: the student's loss before each update, (T,).
    """

    final: StudentState
    losses: Tensor


@dataclass(frozen=True)
class Hypergradient:
    """The cotangents that the reverse pass found.

    Attributes:
        coefficients: ∂M̃/∂Φ_t for every step t, (T, coefficients); zero rows before the truncation.
        initial_params: ∂M̃/∂ω at the first step of the pass, (parameters,).
        norms: ‖∂M̃/∂ω_t‖ for t = T … first, a float each: growth shows an unstable unroll.
    """

    coefficients: Tensor
    initial_params: Tensor
    norms: Sequence[float]


def unroll(
    student: Student,
    rule: UpdateRule,
    state: StudentState,
    steps: int,
    source: StepSource,
    trajectory: Trajectory | None = None,
) -> Unroll:
    """Trains the student for `steps` updates, recording states where a trajectory is given.

    Cost: `steps` training steps.
    """
    losses = []
    for t in range(steps):
        if trajectory is not None:
            trajectory.record(t, state)
        loss, state = _update(student, rule, state, source(t))
        losses.append(loss)
    return Unroll(state, torch.stack(losses))


def reverse(
    student: Student,
    rule: UpdateRule,
    curvature: Curvature,
    trajectory: Trajectory,
    steps: int,
    source: StepSource,
    cotangent: Tensor,
    truncation: int = 0,
) -> Hypergradient:
    """Carries ∂M̃/∂ω_T back through the recorded updates.

    For each t: the rule's own vector-Jacobian product gives (ω̄, ū, a), then
    dω_t = ω̄ + (∂²L/∂ω²) a and dΦ_t = (∂²L/∂Φ∂ω) a; for plain SGD a = −η dω_{t+1}.

    Args:
        cotangent: ∂M̃/∂ω_T, (parameters,).
        truncation: K, the number of last steps to go back through; 0 is all.

    Raises:
        NonFiniteCotangentError: naming the step at which it happened.

    Cost: for every step one linearisation and product of `curvature`, plus what
        the trajectory recomputes.
    Paper: Eqs 3–5 and Algorithm 1, for any update rule.
    """
    if truncation < 0 or truncation > steps:
        raise ValueError(f"truncation is {truncation}, but must lie between 0 (all) and the {steps} steps")
    first = steps - truncation if truncation else 0

    def replay(t: int, state: StudentState) -> StudentState:
        return _update(student, rule, state, source(t))[1]

    bar: StudentState | None = None
    norms = [_finite_norm(cotangent, steps)]
    rows: list[Tensor] = []
    for t, state in trajectory.backward(first, steps, replay):
        if bar is None:
            bar = StudentState(cotangent, tuple(torch.zeros_like(slot) for slot in state.slots))
        step = source(t)
        point = curvature.linearize(student, state.params, step.coefficients, step.batch, step.seed)
        pulled = pull_back(rule, state, point.gradient, step.learning_rate, bar)
        products = point.multiply(pulled.gradient)
        bar = StudentState(pulled.state.params + products.hessian, pulled.state.slots)
        norms.append(_finite_norm(bar.params, t))
        rows.append(products.mixed)
    before = [torch.zeros_like(rows[0])] * first
    return Hypergradient(torch.stack(before + rows[::-1]), bar.params if bar is not None else cotangent, norms)


def _update(student: Student, rule: UpdateRule, state: StudentState, step: Step) -> tuple[Tensor, StudentState]:
    loss, gradient = student.gradient(state.params, step.coefficients, step.batch, step.seed)
    with torch.no_grad():
        return loss, rule.step(state, gradient, step.learning_rate)


def _finite_norm(cotangent: Tensor, step: int) -> float:
    norm = float(cotangent.norm())
    if not math.isfinite(norm):
        raise NonFiniteCotangentError(
            f"the cotangent is not finite at step {step}: shorten the unroll, truncate it, "
            "or lower the student's learning rate"
        )
    return norm
