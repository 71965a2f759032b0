"""What a few short trainings tell of a lesson before hours are spent on it: smoothness in Φ, and cost."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.curvature import Curvature
from fairseq_dlf.core.hypergradient.unroll import Unroll, unroll
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.lesson import Lesson
from fairseq_dlf.core.teaching.teachers.static import StaticTeacher

# By which Φ is moved twice, as a share of its own size.
SHARE = 0.1
# Times are medians of so many.
TIMED = 3


class Cost(NamedTuple):
    """Seconds of one update, of one step of the reverse pass, and of a measure without its gradient."""

    update_s: float
    reverse_s: float
    measure_s: float


def constant_run(lesson: Lesson, coefficients: Tensor) -> Unroll:
    """Train a lesson's student with one Φ, (coefficients,), all along."""
    guidance = Guidance(lesson, StaticTeacher(coefficients), features=1)
    return unroll(lesson.student, lesson.rule, guidance.source, lesson.start, lesson.updates)


def movement_agreement(first: Tensor, second: Tensor, third: Tensor) -> float:
    """Return how far two successive moves agree in sign, weighted by the first: 1 all along, 0 by chance, −1 nowhere.

    Args:
        first, second, third: ω, (parameters,).
    """
    move, next_move = second - first, third - second
    weight = move.abs().sum()
    return 0.0 if weight == 0 else float((move.abs() * move.sign() * next_move.sign()).sum() / weight)


def metasmoothness(lesson: Lesson, coefficients: Tensor, seed: int = 0) -> float:
    """Return how smoothly a lesson's student depends on Φ, from three trainings, at most 1.

    They are with Φ, Φ + h v and Φ + 2 h v, where v has random signs and h is a tenth of the mean |Φ|. Where the
    moves of ω hardly agree, no first derivative tells what a step of the teacher does.

    Args:
        coefficients: Φ, (coefficients,).
        seed: of v.

    Cost: three trainings.
    Source: the empirical metasmoothness of Engstrom et al. 2025.
    """
    signs = torch.randint(2, coefficients.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    move = SHARE * coefficients.abs().mean() * signs.to(coefficients)
    runs = (constant_run(lesson, coefficients + number * move).final.params for number in range(3))
    return movement_agreement(*runs)


def cost_of(lesson: Lesson, coefficients: Tensor, curvature: Curvature) -> Cost:
    """Return what parts of a lesson cost, measured at its first update."""
    step = Guidance(lesson, StaticTeacher(coefficients), features=1).source(0)
    point = step.at(lesson.start.params)
    known = lesson.student.gradients(point, of_coefficients=True)

    def reverse() -> None:
        here = curvature.linearize(lesson.student, point, known if curvature.reuses_gradients else None)
        here.multiply(known.params)

    return Cost(
        _seconds(lambda: lesson.student.gradients(point, curvature.reuses_gradients)),
        _seconds(reverse),
        _seconds(lambda: lesson.measure.value(lesson.start.params)),
    )


def _seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(TIMED):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return sorted(times)[TIMED // 2]
