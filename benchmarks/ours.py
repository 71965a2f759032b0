"""This package's episode on a measured student: the only file here that knows the core's interface."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from torch import Tensor

from benchmarks.students import LEARNING_RATE, Case
from fairseq_dlf.core.curvature import Curvature, Exact, twice_differentiable
from fairseq_dlf.core.hypergradient import Step, reverse, unroll
from fairseq_dlf.core.student import Student
from fairseq_dlf.core.trajectory import Checkpoints, Everything, Trajectory
from fairseq_dlf.core.update_rules import SGD


class Way(NamedTuple):
    """A way to get second-order products, and the context that its forwards want."""

    curvature: Callable[[], Curvature]
    forward_context: Callable[[], AbstractContextManager[Any]]


EXACT = "exact"
WAYS = {EXACT: Way(Exact, twice_differentiable)}

ALL_STATES = "everything"
SOME_STATES = "checkpoints √T"
# Each makes the store of an episode of so many steps.
TRAJECTORIES: dict[str, Callable[[int], Trajectory]] = {
    ALL_STATES: lambda steps: Everything(),
    SOME_STATES: lambda steps: Checkpoints(max(1, round(steps**0.5))),
}


def student(case: Case, way: str = EXACT) -> Student:
    return Student(case.module, case.objective, WAYS[way].forward_context)


def episode(case: Case, steps: int, way: str = EXACT, trajectory: str = ALL_STATES) -> Tensor:
    """dΦ_1 … dΦ_T of v·ω_T, by `steps` updates and the reverse pass over them, (steps, coefficients)."""
    taught, rule, store, source = student(case, way), SGD(), TRAJECTORIES[trajectory](steps), _source(case, steps)
    unroll(taught, rule, rule.initial(taught.flat_params()), steps, source, store)
    curvature = WAYS[way].curvature()
    return reverse(taught, rule, curvature, store, steps, source, case.measure_gradient()).coefficients


def forward(case: Case, steps: int) -> Tensor:
    """ω_T after the same updates, with no past kept, (parameters,)."""
    taught, rule = student(case), SGD()
    return unroll(taught, rule, rule.initial(taught.flat_params()), steps, _source(case, steps)).final.params


def _source(case: Case, steps: int) -> Callable[[int], Step]:
    phis = case.phis(steps)
    return lambda t: Step(phis[t], case.batch(t), case.seed(t), LEARNING_RATE)
