"""This package's episode on a measured student: the only file here that knows the core's interface."""

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor

from benchmarks.students import LEARNING_RATE, Case
from fairseq_dlf.core.hypergradient.curvature import CentralDifference, Curvature, Exact, ForwardDifference
from fairseq_dlf.core.hypergradient.probe import twice_differentiable
from fairseq_dlf.core.hypergradient.reverse import reverse
from fairseq_dlf.core.hypergradient.schedules import Binomial, Checkpoints, Everything
from fairseq_dlf.core.hypergradient.storage import OnDisk
from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.unroll import Step, unroll
from fairseq_dlf.core.hypergradient.update_rules import SGD


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

ALL_STATES = "everything"
SOME_STATES = "checkpoints √T"
FEWEST_STATES = "binomial √(2T)"
# Each plans the store of an episode of so many steps.
TRAJECTORIES: dict[str, Callable[[int], TrajectoryPlan]] = {
    ALL_STATES: lambda steps: TrajectoryPlan(),
    "everything on disk": lambda steps: TrajectoryPlan(Everything(), partial(OnDisk, folder=tempfile.gettempdir())),
    SOME_STATES: lambda steps: TrajectoryPlan(Checkpoints(max(1, round(steps**0.5)))),
    FEWEST_STATES: lambda steps: TrajectoryPlan(Binomial(max(1, round((2 * steps) ** 0.5)))),
}


def student(case: Case, way: str = EXACT) -> Student:
    return Student(case.module, case.objective, WAYS[way].forward_context)


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
