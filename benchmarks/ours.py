"""Episodes and lessons of this package on a measured student: the only file here that runs the core."""

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.cases import LEARNING_RATE, Case
from fairseq_dlf.core.hypergradient.curvature import CentralDifference, Curvature, Exact, ForwardDifference
from fairseq_dlf.core.hypergradient.episode import EpisodePlan, Measure, MeasuredCotangent, run_episode
from fairseq_dlf.core.hypergradient.probe import twice_differentiable
from fairseq_dlf.core.hypergradient.reverse import reverse
from fairseq_dlf.core.hypergradient.schedules import Binomial, Checkpoints, Everything
from fairseq_dlf.core.hypergradient.storage import OnDisk, OnHost
from fairseq_dlf.core.hypergradient.student import Buffers, Point, Student
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.unroll import Step, unroll
from fairseq_dlf.core.hypergradient.update_rules import SGD, StudentState
from fairseq_dlf.core.teaching.estimators import Reverse, estimate
from fairseq_dlf.core.teaching.lesson import LessonStep
from fairseq_dlf.core.teaching.teachers import Teacher, untaught_teacher


class Way(NamedTuple):
    """A way to get second-order products, and the context that its forwards want."""

    curvature: Callable[[], Curvature]
    forward_context: Callable[[], AbstractContextManager[Any]]


EXACT = "exact"
WAYS = {
    "forward": Way(ForwardDifference, nullcontext),
    "central": Way(CentralDifference, nullcontext),
    EXACT: Way(Exact, twice_differentiable),
}

# v·ω may well be negative, and a measure that falls by half counts as a collapse.
FAR_FROM_COLLAPSE = 1e6
# Features of s_t besides t / T, as in translation.
OBSERVED = 2

ALL_STATES = "everything"
ON_HOST, ON_DISK = "everything on the host", "everything on disk"
SOME_STATES = "checkpoints √T"
FEWEST_STATES = "binomial √(2T)"
ALL_GRAPHS = "everything and graphs"
# Each plans the store of an episode of so many steps.
TRAJECTORIES: dict[str, Callable[[int], TrajectoryPlan]] = {
    ALL_STATES: lambda steps: TrajectoryPlan(),
    ON_HOST: lambda steps: TrajectoryPlan(Everything(), OnHost),
    ON_DISK: lambda steps: TrajectoryPlan(Everything(), partial(OnDisk, folder=tempfile.gettempdir())),
    SOME_STATES: lambda steps: TrajectoryPlan(Checkpoints(max(1, round(steps**0.5)))),
    FEWEST_STATES: lambda steps: TrajectoryPlan(Binomial(max(1, round((2 * steps) ** 0.5)))),
    ALL_GRAPHS: lambda steps: TrajectoryPlan(graphs=steps),
}


def student(case: Case, way: str = EXACT) -> Student:
    """Return the case's module and loss as a student of the core."""
    return Student(case.module, case.objective, WAYS[way].forward_context)


def gradient(case: Case, batch: Any) -> Tensor:
    """Return the gradient of a batch's loss at ω_0, (parameters,)."""
    taught = student(case)
    return taught.gradients(Point(taught.flat_params(), case.coefficients, batch, case.seed(0))).params


# Episodes ---------------------------------------------------------------------------


def episode(case: Case, steps: int, way: str = EXACT, trajectory: str = ALL_STATES) -> Tensor:
    """Return dΦ_1 … dΦ_T of v·ω_T, by `steps` updates and the reverse pass over them, (steps, coefficients)."""
    taught, rule, source, curvature = student(case, way), SGD(), _source(case, steps), WAYS[way].curvature()
    with closing(TRAJECTORIES[trajectory](steps).open(0, steps, curvature.reuses_gradients)) as store:
        unroll(taught, rule, source, rule.initial(taught.flat_params()), steps, trajectory=store)
        return reverse(taught, rule, source, store, curvature, case.measure_gradient()).coefficients


def forward(case: Case, steps: int) -> Tensor:
    """Return ω_T after the same updates, (parameters,), without keeping past states."""
    taught, rule = student(case, "forward"), SGD()
    return unroll(taught, rule, _source(case, steps), rule.initial(taught.flat_params()), steps).final.params


def _source(case: Case, steps: int) -> Callable[[int], Step]:
    phis = case.phis(steps)
    return lambda t: Step(phis[t], case.batch(t), case.seed(t), LEARNING_RATE)


# Lessons ----------------------------------------------------------------------------


@dataclass(frozen=True)
class LinearMeasure:
    """v·ω and a constant: a measure that costs nothing, so that what is around it can be seen."""

    vector: Tensor

    def value(self, params: Tensor) -> float:
        return FAR_FROM_COLLAPSE + float(self.vector @ params)

    def value_and_cotangent(self, params: Tensor) -> MeasuredCotangent:
        return MeasuredCotangent(self.value(params), self.vector)


@dataclass(frozen=True)
class CaseLesson:
    """A case as a `Lesson` of the core, whose student is observed at no cost."""

    case: Case
    student: Student
    updates: int
    interval: int
    measure: Measure
    rule: SGD = SGD()

    @classmethod
    def of(cls, case: Case, steps: int, interval: int) -> "CaseLesson":
        """Return the lesson of `steps` updates, with a look at the student every `interval`."""
        return cls(case, student(case), steps, interval, LinearMeasure(case.measure_gradient()))

    @property
    def start(self) -> StudentState:
        return self.rule.initial(self.student.flat_params())

    def step(self, t: int) -> LessonStep:
        return LessonStep(self.case.batch(t), self.case.seed(t), LEARNING_RATE)

    def observe(self, t: int, params: Tensor, buffers: Buffers) -> Tensor:
        return torch.full((OBSERVED,), t / self.updates)


def teacher(case: Case) -> Teacher:
    """Return the paper's teacher, untaught, for the case's coefficients."""
    torch.manual_seed(5)
    return untaught_teacher("attention", case.coefficients, 1 + OBSERVED, {})


def bare_episode(case: Case, steps: int) -> Tensor:
    """Run an episode with a measure and the same Φ in each step, and return dΦ, (steps, coefficients)."""
    lesson = CaseLesson.of(case, steps, steps)

    def source(t: int) -> Step:
        return Step(case.coefficients, *lesson.step(t))

    result = run_episode(lesson.student, lesson.rule, source, lesson.start, lesson.measure, EpisodePlan(steps))
    assert result.hypergradient is not None
    return result.hypergradient.coefficients


def lesson(case: Case, taught_by: Teacher, steps: int, interval: int) -> list[Tensor]:
    """Give the same episode as a teacher's lesson, and return −∂M̃/∂θ of each of θ's parameters.

    Args:
        interval: updates between two looks at the student, each with a forward of the teacher.
    """
    found = estimate(Reverse(EpisodePlan(steps)), CaseLesson.of(case, steps, interval), taught_by, 1 + OBSERVED)
    assert found.collapse is None
    return list(torch.autograd.grad(found.loss, list(taught_by.parameters())))
