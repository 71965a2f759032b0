"""The reverse pass: from ∂M̃/∂ω_T to ∂M̃/∂Φ_t through the student's own updates (RMD)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.curvature import Curvature
from fairseq_dlf.core.hypergradient.student import Gradients, Student
from fairseq_dlf.core.hypergradient.trajectory import Past, Trajectory
from fairseq_dlf.core.hypergradient.unroll import StepSource, Watch, updated
from fairseq_dlf.core.hypergradient.update_rules import StudentState, UpdateRule


class NonFiniteCotangentError(RuntimeError):
    """The reverse pass met a cotangent that is not finite: the unroll is unstable."""


@dataclass(frozen=True)
class Hypergradient:
    """The cotangents that the reverse pass found.

    Attributes:
        coefficients: ∂M̃/∂Φ_t for every step t, (T, coefficients); zero rows before the truncation.
        initial_params: ∂M̃/∂ω at the first step of the pass, (parameters,).
        norms: ‖∂M̃/∂ω_t‖ for t = T … first, a float each, before any clipping: growth shows
            an unstable unroll.
    """

    coefficients: Tensor
    initial_params: Tensor
    norms: Sequence[float]

    @property
    def leverage(self) -> float:
        """‖Σ_t ∂M̃/∂Φ_t‖₁: what M̃ could gain, to first order, if every coefficient moved by 1 in its best direction."""
        return float(self.coefficients.sum(dim=0).abs().sum())

    @property
    def growth(self) -> float:
        """‖∂M̃/∂ω‖ at the first step of the pass over that at the last: far above 1, the unroll is unstable."""
        return self.norms[-1] / max(self.norms[0], torch.finfo(torch.float64).tiny)


def reverse(
    student: Student,
    rule: UpdateRule,
    source: StepSource,
    trajectory: Trajectory,
    curvature: Curvature,
    cotangent: Tensor,
    *,
    clip_norm: float = 0.0,
    watch: Watch | None = None,
) -> Hypergradient:
    """Carry ∂M̃/∂ω_T back through the recorded updates.

    For each t: the rule's own vector-Jacobian product gives (ω̄, ū, a), then
    dω_t = ω̄ + (∂²L/∂ω²) a and dΦ_t = (∂²L/∂Φ∂ω) a; for plain SGD a = −η dω_{t+1}.

    Args:
        trajectory: holds the past of the T steps, and says how far to go back.
        cotangent: ∂M̃/∂ω_T, (parameters,).
        clip_norm: bound on the norm of dω_t, by which the slots' cotangents shrink as
            well; 0 leaves them alone. With it the result is no longer the gradient.

    Raises:
        NonFiniteCotangentError: naming the step at which it happened.

    Cost: for every step one linearisation and product of `curvature`, plus what
        the trajectory recomputes; memory of one step and T rows of coefficients.
    Paper: Eqs 3–5 and Algorithm 1, for any update rule.
    """

    def replay(t: int, past: Past) -> tuple[Gradients, StudentState]:
        return updated(student, rule, past, source(t), trajectory.keeps_gradients)

    norms = [_finite_norm(cotangent, trajectory.steps)]
    bar: StudentState | None = None
    found: Tensor | None = None
    for t, (state, known) in trajectory.backward(replay):
        if bar is None:
            bar = StudentState(cotangent, tuple(torch.zeros_like(slot) for slot in state.slots))
            bar = _clipped(bar, norms[-1], clip_norm)
        step = source(t)
        here = curvature.linearize(student, step.at(state.params), known)
        pulled = rule.pull_back(state, here.gradient, step.learning_rate, bar)
        products = here.multiply(pulled.gradient)
        bar = StudentState(pulled.state.params + products.hessian, pulled.state.slots)
        norms.append(_finite_norm(bar.params, t))
        bar = _clipped(bar, norms[-1], clip_norm)
        if found is None:
            found = products.mixed.new_zeros(trajectory.steps, *products.mixed.shape)
        found[t] = products.mixed
        if watch is not None:
            watch.reverse(t, norms[-1])
    assert bar is not None and found is not None
    return Hypergradient(found, bar.params, norms)


def _clipped(bar: StudentState, norm: float, clip_norm: float) -> StudentState:
    if not clip_norm or norm <= clip_norm:
        return bar
    return StudentState(bar.params * (clip_norm / norm), tuple(slot * (clip_norm / norm) for slot in bar.slots))


def _finite_norm(cotangent: Tensor, step: int) -> float:
    norm = float(cotangent.norm())
    if not math.isfinite(norm):
        raise NonFiniteCotangentError(
            f"the cotangent is not finite at step {step}: shorten the unroll, truncate it, "
            "or lower the student's learning rate"
        )
    return norm
