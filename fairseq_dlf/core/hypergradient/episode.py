"""One teacher step of Algorithm 1: teach T steps, measure, go back."""

import math
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from torch import Tensor

from fairseq_dlf.core.hypergradient.curvature import Curvature, Exact
from fairseq_dlf.core.hypergradient.probe import require_coefficients
from fairseq_dlf.core.hypergradient.reverse import Hypergradient, NonFiniteCotangentError, reverse
from fairseq_dlf.core.hypergradient.student import Buffers, Student
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.unroll import Observer, Step, StepSource, Watch, unroll
from fairseq_dlf.core.hypergradient.update_rules import StudentState, UpdateRule
from fairseq_dlf.core.support.checks import require_at_least, require_rate
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.signature import Part, described


class MeasuredCotangent(NamedTuple):
    """A measure's value and its gradient ∂M̃/∂ω at one ω, (parameters,)."""

    value: float
    cotangent: Tensor


class Measure(Protocol):
    """A smoothed measure M̃(ω) of the student on dev data.

    It gives its own gradient so that it may go through the dev data in pieces.
    """

    def value(self, params: Tensor) -> float:
        """Return M̃(ω)."""

    def value_and_cotangent(self, params: Tensor) -> MeasuredCotangent:
        """Return M̃(ω) and ∂M̃/∂ω."""


@dataclass(frozen=True)
class EpisodePlan:
    """How an episode is run.

    Attributes:
        steps: T, the number of student updates.
        truncation: K, how many of the last steps are reversed; 0 is all.
        curvature: the way to second-order products.
        trajectory: how the episode's past is kept.
        cotangent_clip: bound on ‖∂M̃/∂ω_t‖ in the reverse pass; 0 is none.
        collapse_share: the episode counts as collapsed when the measure after it is
            below this share of the measure before it, as `lowest_of` says for negative ones.
        collapse_floor: the same, below this value: for students that start from nothing.
        growth_limit: the same, where ‖∂M̃/∂ω‖ grows by more than this factor on its way back:
            such a gradient is the instability's, not the measure's.
    """

    steps: int
    truncation: int = 0
    curvature: Curvature = field(default_factory=Exact)
    trajectory: TrajectoryPlan = field(default_factory=TrajectoryPlan)
    cotangent_clip: float = 0.0
    collapse_share: float = 0.5
    collapse_floor: float = -math.inf
    growth_limit: float = math.inf

    def __post_init__(self) -> None:
        require_at_least(1, steps=self.steps)
        if not 0 <= self.truncation <= self.steps:
            raise InputError(
                f"truncation is to the last {self.truncation} steps, but must lie between "
                f"0 (the full horizon) and the episode's {self.steps} steps",
                setting="truncation",
            )
        if self.trajectory.graphs and not isinstance(self.curvature, Exact):
            raise InputError(
                f"graphs of {self.trajectory.graphs} steps are to be kept, but products by differences use none: take "
                "exact products, or keep no graphs",
                setting="graphs",
            )
        require_at_least(0, cotangent_clip=self.cotangent_clip)
        require_rate(collapse_share=self.collapse_share)

    @property
    def signature(self) -> Part:
        """All that changes the hypergradient; how the past is kept does not."""
        return {
            "steps": self.steps,
            "truncation": self.truncation,
            "curvature": described(self.curvature),
            "cotangent_clip": self.cotangent_clip,
            "collapse_share": self.collapse_share,
            "growth_limit": self.growth_limit,
        }

    @property
    def first(self) -> int:
        """The earliest step that is reversed."""
        return self.steps - self.truncation if self.truncation else 0


@dataclass(frozen=True)
class EpisodeResult:
    """What an episode found.

    Attributes:
        final: the student's state after T updates.
        losses: the student's loss before each update, (T,).
        buffers: the module's buffers after T updates, by name; the reverse pass leaves them alone.
        measure_before, measure_after: M̃ at ω_0 and ω_T.
        hypergradient: None where the episode collapsed.
        collapse: the cause in words, or None.
        forward_s: wall time of the first measure and the updates.
        reverse_s: wall time of the second measure, its gradient and the reverse pass.
    """

    final: StudentState
    losses: Tensor
    buffers: Buffers
    measure_before: float
    measure_after: float
    hypergradient: Hypergradient | None
    collapse: str | None
    forward_s: float
    reverse_s: float


def run_episode(
    student: Student,
    rule: UpdateRule,
    source: StepSource,
    start: StudentState,
    measure: Measure,
    plan: EpisodePlan,
    *,
    watch: Watch | None = None,
    observe: Observer | None = None,
    measure_before: float | None = None,
) -> EpisodeResult:
    """Teach the student from `start`, measure it and find dΦ_1 … dΦ_T.

    Args:
        source: gives step t, once more for the same t in the reverse pass.
        watch: is told of the progress.
        observe: as in `unroll`: for coefficients that depend on the student at step t.
        measure_before: M̃ at the start, where it is known; by default it is measured.

    Raises:
        InputError: the loss at a student's first step makes no use of Φ, or has no derivative in it.

    Cost: T training steps forward, T products backward, two measures; with exact products about four training steps
    for each step, and three where its graph is kept; one forward more.
    Paper: Algorithm 1, lines 4–12.
    """
    began = time.perf_counter()
    before = measure.value(start.params) if measure_before is None else measure_before
    with closing(plan.trajectory.open(plan.first, plan.steps, plan.curvature.reuses_gradients)) as trajectory:
        tried = _tried_first(student, source, start)
        done = unroll(student, rule, tried, start, plan.steps, trajectory=trajectory, watch=watch, observe=observe)
        turned = time.perf_counter()
        after = measure.value_and_cotangent(done.final.params)
        collapse = collapse_of(before, after.value, done.losses, plan, plan.collapse_floor)
        hypergradient = None
        if collapse is None:
            way, clip = (source, trajectory, plan.curvature, after.cotangent), plan.cotangent_clip
            try:
                hypergradient = reverse(student, rule, *way, clip_norm=clip, watch=watch)
            except NonFiniteCotangentError as error:
                collapse = str(error)
            else:
                collapse = _explosion_of(hypergradient, plan.growth_limit)
    return EpisodeResult(
        final=done.final,
        losses=done.losses,
        buffers=done.buffers,
        measure_before=before,
        measure_after=after.value,
        hypergradient=hypergradient if collapse is None else None,
        collapse=collapse,
        forward_s=turned - began,
        reverse_s=time.perf_counter() - turned,
    )


def _tried_first(student: Student, source: StepSource, start: StudentState) -> StepSource:
    """Return the source of an episode that tries ∂L/∂Φ before the student's first update."""

    def tried(t: int) -> Step:
        step = source(t)
        if t == 0:
            require_coefficients(student, step.at(start.params))
        return step

    return tried


def collapse_of(before: float, after: float, losses: Tensor, plan: EpisodePlan, floor: float = -math.inf) -> str | None:
    """Return why an episode is not usable, in words; None if it is.

    Args:
        before, after: the measure at its start and its end.
        losses: the student's loss before each update.
        floor: the lowest measure at the end that counts.
    """
    diverged = divergence_of(losses)
    if diverged is not None:
        return diverged
    if math.isnan(after):
        return "the measure after the episode is not a number"
    advice = "lower the teacher's or the student's learning rate"
    lowest = lowest_of(before, plan.collapse_share)
    if after < lowest:
        return (
            f"the measure fell from {before:.4f} to {after:.4f}, under {lowest:.4f} by a share of "
            f"{plan.collapse_share:g}: {advice}"
        )
    if after < floor:
        return f"the measure ended at {after:.4f}, under its floor of {floor:.4f}: {advice}"
    return None


def lowest_of(measure: float, share: float) -> float:
    """Return what is left of a measure that has lost all but a share of its size: share · M̃ where it is positive.

    A negative measure, such as a log-likelihood, falls away from 0: −3 by half of its size to −4.5.
    """
    return measure - (1.0 - share) * abs(measure)


def divergence_of(losses: Tensor) -> str | None:
    """Return that a student's loss before some update is not finite, in words; None if all are."""
    if bool(losses.isfinite().all()):
        return None
    return "the student's loss is not finite: lower its learning rate or clip its gradient"


def _explosion_of(found: Hypergradient, limit: float) -> str | None:
    if found.growth <= limit:
        return None
    return (
        f"the cotangent grew {found.growth:.3g}-fold on its way back, beyond the limit of {limit:g}: lower the "
        "teacher's or the student's learning rate, clip the cotangent or truncate"
    )
