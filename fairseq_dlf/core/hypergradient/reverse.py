"""The reverse pass: from ∂M̃/∂ω_T to ∂M̃/∂Φ_t through the student's own updates (RMD)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.curvature import Curvature
from fairseq_dlf.core.hypergradient.graph import Products
from fairseq_dlf.core.hypergradient.student import Gradients, Student
from fairseq_dlf.core.hypergradient.trajectory import Past, Trajectory
from fairseq_dlf.core.hypergradient.unroll import StepSource, Watch, updated
from fairseq_dlf.core.hypergradient.update_rules import Pullback, StudentState, UpdateRule


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
        trajectory: holds the past of the T steps, and says how far to go back; a kept graph gives its step's products,
            whatever `curvature`.
        cotangent: ∂M̃/∂ω_T, (parameters,).
        clip_norm: bound on the norm of dω_t, by which the slots' cotangents shrink as
            well; 0 leaves them alone. With it the result is no longer the gradient.

    Raises:
        NonFiniteCotangentError: naming the step at which it happened.

    Cost: for every step one linearisation, unless its graph is kept, and product of `curvature`, plus what
        the trajectory recomputes; memory of one step and T rows of coefficients.
    Paper: Eqs 3–5 and Algorithm 1, for any update rule.
    """
    way = (student, rule, source, trajectory, curvature)
    return reverse_several(*way, [cotangent], clip_norm=clip_norm, watch=watch)[0]


def reverse_several(
    student: Student,
    rule: UpdateRule,
    source: StepSource,
    trajectory: Trajectory,
    curvature: Curvature,
    cotangents: Sequence[Tensor],
    *,
    clip_norm: float = 0.0,
    watch: Watch | None = None,
) -> list[Hypergradient]:
    """Carry the cotangents of several measures back through the same updates, as `reverse` does each.

    Args:
        cotangents: ∂M̃/∂ω_T of each measure, (parameters,).
        watch: is told the norms of the first.

    Raises:
        NonFiniteCotangentError: as `reverse`, for the first cotangent that meets it.

    Cost: for every step one linearisation and a product for each cotangent; what the trajectory recomputes counts
        once. The memory of `reverse`, and two vectors like ω and T rows of coefficients for each cotangent more.
    """

    def replay(t: int, past: Past) -> tuple[Gradients, StudentState]:
        return updated(student, rule, past, source(t), trajectory.keeps_gradients)

    passes = [_Pass(cotangent, trajectory.steps, clip_norm) for cotangent in cotangents]
    for t, (state, known, kept) in trajectory.backward(replay):
        step = source(t)
        here = kept or curvature.linearize(student, step.at(state.params), known)
        # One pass asks once at most, and need not hold the gradient any longer.
        gradient = here.gradient if len(passes) == 1 else cache(here.gradient)
        for each in passes:
            pulled = rule.pull_back(state, gradient, step.learning_rate, each.bar(state))
            each.go(t, pulled, here.multiply(pulled.gradient, again=each is not passes[-1]))
        if watch is not None:
            watch.reverse(t, passes[0].norms[-1])
    return [each.hypergradient for each in passes]


class _Pass:
    """One cotangent on its way back, and what it has left behind.

    Args:
        cotangent: ∂M̃/∂ω_T, (parameters,).
        steps: T.
        clip_norm: as for `reverse`.
    """

    def __init__(self, cotangent: Tensor, steps: int, clip_norm: float):
        self._cotangent, self._steps, self._clip_norm = cotangent, steps, clip_norm
        self._bar: StudentState | None = None
        self._found: Tensor | None = None
        self.norms = [_finite_norm(cotangent, steps)]

    def bar(self, state: StudentState) -> StudentState:
        """Return the cotangent of the state after the next step to reverse; `state` is the one before it."""
        if self._bar is None:
            bar = StudentState(self._cotangent, tuple(torch.zeros_like(slot) for slot in state.slots))
            self._bar = _clipped(bar, self.norms[-1], self._clip_norm)
        return self._bar

    def go(self, t: int, pulled: Pullback, products: Products) -> None:
        """Go back over step t, of whose rule and loss these are the products."""
        bar = StudentState(pulled.state.params + products.hessian, pulled.state.slots)
        self.norms.append(_finite_norm(bar.params, t))
        self._bar = _clipped(bar, self.norms[-1], self._clip_norm)
        if self._found is None:
            self._found = products.mixed.new_zeros(self._steps, *products.mixed.shape)
        self._found[t] = products.mixed

    @property
    def hypergradient(self) -> Hypergradient:
        """Return what was found; there was at least one step."""
        assert self._bar is not None and self._found is not None
        return Hypergradient(self._found, self._bar.params, self.norms)


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
