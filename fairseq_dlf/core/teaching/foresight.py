"""What a few short trainings tell of a lesson before hours are spent on it: smoothness in Φ, and cost."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.curvature import Curvature
from fairseq_dlf.core.hypergradient.episode import EpisodePlan
from fairseq_dlf.core.hypergradient.student import Point
from fairseq_dlf.core.hypergradient.trajectory import Past
from fairseq_dlf.core.hypergradient.unroll import Step, Unroll, Watch, unroll, updated
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.lesson import Course, Lesson
from fairseq_dlf.core.teaching.teachers.static import StaticTeacher

# By which Φ is moved twice, as a share of its own size.
SHARE = 0.1
# Times are medians of so many, and of more where they are short.
TIMED, TIMED_S = 3, 0.05


def constant_run(lesson: Lesson, coefficients: Tensor, updates: int, watch: Watch | None = None) -> Unroll:
    """Train a lesson's student with one Φ, (coefficients,), all along.

    Args:
        updates: how many of the lesson's updates, from the first.
        watch: is told of the progress.
    """
    guidance = Guidance(lesson, StaticTeacher(coefficients), features=1)
    return unroll(lesson.student, lesson.rule, guidance.source, lesson.start, updates, watch=watch)


# Smoothness ---------------------------------------------------------------------------


def movement_agreement(first: Tensor, second: Tensor, third: Tensor) -> float:
    """Return how far two successive moves agree in sign, weighted by the first: 1 all along, 0 by chance, −1 nowhere.

    Args:
        first, second, third: ω, (parameters,).
    """
    move, next_move = second - first, third - second
    weight = move.abs().sum()
    return 0.0 if weight == 0 else float((move.abs() * move.sign() * next_move.sign()).sum() / weight)


def metasmoothness(
    train: Callable[[Tensor], Tensor], coefficients: Tensor, seed: int = 0, low: Tensor | None = None
) -> float:
    """Return how smoothly a student depends on Φ, from three trainings, at most 1.

    They are with Φ, Φ + h v and Φ + 2 h v, where v has random signs and h is a tenth of the mean |Φ|. Where the
    moves of ω hardly agree, no first derivative tells what a step of the teacher does.

    Args:
        train: from Φ to ω of the trained student, (parameters,).
        coefficients: Φ, (coefficients,).
        seed: of v.
        low: bounds of Φ, (coefficients,); what the moves would carry below them moves up instead.

    Cost: three trainings.
    Source: the empirical metasmoothness of Engstrom et al. 2025.
    """
    signs = torch.randint(2, coefficients.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    move = SHARE * coefficients.abs().mean() * signs.to(coefficients)
    if low is not None:
        move = torch.where(coefficients + 2 * move < low.to(coefficients), -move, move)
    return movement_agreement(*(train(coefficients + number * move) for number in range(3)))


# Cost ---------------------------------------------------------------------------------


class Cost(NamedTuple):
    """Seconds of the parts of an episode.

    Attributes:
        update_s: of one update.
        observe_s: of one observation of the student for s_t.
        reverse_s: of one step of the reverse pass; 0 if there is none.
        measure_s: of a measure without its gradient.
    """

    update_s: float
    observe_s: float
    reverse_s: float
    measure_s: float

    def forward_s(self, course: Course, observed: bool) -> float:
        """Return the seconds of a student's run and one measure; `observed` if the teacher looks at s_t."""
        observations = len(range(0, course.updates, course.interval)) if observed else 0
        return course.updates * self.update_s + observations * self.observe_s + self.measure_s

    def back_s(self, plan: EpisodePlan) -> float:
        """Return the seconds of an episode's second measure and reverse pass."""
        horizon = plan.steps - plan.first
        # A kept graph saves about an update.
        saved = min(plan.trajectory.graphs, horizon)
        recomputed = plan.trajectory.extra_steps(plan.first, plan.steps) - saved
        return horizon * self.reverse_s + recomputed * self.update_s + self.measure_s


def first_point(lesson: Lesson, coefficients: Tensor) -> Point:
    """Return where a lesson's first gradient is taken."""
    return Step(coefficients, *lesson.step(0)).at(lesson.start.params)


def cost_of(lesson: Lesson, coefficients: Tensor, curvature: Curvature | None) -> Cost:
    """Return what parts of a lesson cost, measured at its first update; as `step_cost`."""
    params, buffers = lesson.start.params, lesson.student.buffers()
    step = step_cost(lesson, coefficients, curvature)
    return Cost(
        step.update_s,
        _seconds(lambda: lesson.observe(0, params, buffers), params.device),
        step.reverse_s,
        _seconds(lambda: lesson.measure.value(params), params.device),
    )


class StepCost(NamedTuple):
    """Seconds of one update, and of one step of the reverse pass; 0 if there is none."""

    update_s: float
    reverse_s: float


def step_cost(lesson: Lesson, coefficients: Tensor, curvature: Curvature | None) -> StepCost:
    """Return what a lesson's first update costs, there and back.

    Args:
        curvature: the way to second-order products; None if none are taken.
    """
    reused = curvature is not None and curvature.reuses_gradients

    def update() -> None:
        step = Step(coefficients, *lesson.step(0))
        updated(lesson.student, lesson.rule, Past(lesson.start, None), step, reused)

    return StepCost(
        _seconds(update, lesson.start.params.device),
        0.0 if curvature is None else _reverse_seconds(lesson, first_point(lesson, coefficients), curvature),
    )


def _reverse_seconds(lesson: Lesson, point: Point, curvature: Curvature) -> float:
    known = lesson.student.gradients(point, of_coefficients=True)

    def reverse() -> None:
        here = curvature.linearize(lesson.student, point, known if curvature.reuses_gradients else None)
        here.multiply(known.params)

    return _seconds(reverse, point.params.device)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    times: list[float] = []
    while len(times) < TIMED or sum(times) < TIMED_S:
        began = time.perf_counter()
        work()
        if device.type == "cuda":  # where kernels run on after the call has returned
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times)
