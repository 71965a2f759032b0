"""The interface of an estimator of θ's gradient, and the estimators by name."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from fairseq_dlf.core.hypergradient.unroll import Unroll, Watch
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.registry import Registry
from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.core.teaching.guidance import Guidance, opening
from fairseq_dlf.core.teaching.lesson import Lesson
from fairseq_dlf.core.teaching.teachers.stepping import SteppingTeacher
from fairseq_dlf.core.teaching.teachers.stochastic import StochasticTeacher
from fairseq_dlf.core.teaching.teachers.teacher import Memory, Teacher


@dataclass(frozen=True)
class Estimate:
    """The result of one lesson for θ.

    Attributes:
        loss: a scalar whose gradient is −∂M̃/∂θ or an estimate of it; its weight is 0 if the lesson collapsed.
        figures: for the log, by name; always with `measure_before`, `measure_after` and `student_loss`.
        collapse: why the lesson is not usable, in words; None if it is usable.
        student: the student at the end of the lesson: ω, what its rule keeps, losses and buffers.
        memory: what the teacher remembers at the end, where the estimator itself has moved it; None where it is what
            the guidance remembers.
    """

    loss: Tensor
    figures: Mapping[str, float]
    collapse: str | None
    student: Unroll
    memory: Memory | None = None


class Estimator(Protocol):
    """A way from a lesson and a teacher to a loss whose gradient moves θ.

    An estimator is a class in a separate file, registered by `ESTIMATORS.register(name)`. One that needs no
    second-order products of the student says so by a class attribute `takes_products = False` (`takes_products`), one
    that learns from another sort of teachers, by `learns_from = SteppingTeacher` or `StochasticTeacher`.
    """

    @property
    def signature(self) -> Part:
        """Everything that changes the estimate."""

    def __call__(
        self,
        lesson: Lesson,
        guidance: Guidance,
        along: Callable[[Tensor], Tensor],
        floor: float = -math.inf,
        watch: Watch | None = None,
    ) -> Estimate:
        """Teach one student and learn from it.

        Args:
            lesson: the student's run, its start and its measure.
            guidance: the teacher's coefficients along the run, before any observation.
            along: a function from s_t to Φ_t of the whole run, (T, features) → (T, coefficients), with a graph
                to θ: `Teacher.along`, or a wrapper of it for several processes.
            floor: a lesson whose measure ends below this counts as collapsed.
            watch: receives the progress.
        """


ESTIMATORS: Registry[Estimator] = Registry("estimator")


def takes_products(estimator: Estimator) -> bool:
    """Return whether an estimator needs second-order products, for which a student must be fit."""
    return bool(getattr(estimator, "takes_products", True))


def state_of(estimator: Estimator) -> dict[str, Any]:
    """Return what an estimator keeps from lesson to lesson, which must survive a resume; {} for most.

    One that keeps something has methods `state`, of what weights-only checkpoints can hold, and `restore`.
    """
    return estimator.state() if hasattr(estimator, "state") else {}


def restore(estimator: Estimator, state: dict[str, Any]) -> None:
    """Go on from what `state_of` returned.

    Raises:
        ValueError: it is not this estimator's.
    """
    if hasattr(estimator, "restore"):
        estimator.restore(state)
    elif state:
        raise ValueError("it has the state of another estimator")


# Teachers whose Φ is not a differentiable function of their parameters along a lesson: why, who learns from them
# instead, and one of them.
_OTHERS: dict[type, tuple[str, str, str]] = {
    SteppingTeacher: (
        "moves Φ by its gradient, so that Φ along one lesson does not depend on its parameters",
        "two_unrolls",
        "lstm",
    ),
    StochasticTeacher: ("draws its actions, which have no derivative", "reinforce", "controller"),
}


def learns_from(estimator: Any) -> type:
    """Return the sort of teachers that an estimator, or its class, learns from.

    `Teacher` stands for those that give Φ as a differentiable function of their parameters.
    """
    found: type = getattr(estimator, "learns_from", Teacher)
    return found


def require_match(estimator: Any, teacher: type[Teacher]) -> None:
    """Refuse an estimator that cannot find the gradient of this kind of teacher.

    Raises:
        InputError: saying which one does.
    """
    wanted, sort = learns_from(estimator), next((each for each in _OTHERS if issubclass(teacher, each)), Teacher)
    if sort is wanted:
        return
    if sort in _OTHERS:
        why, other, _ = _OTHERS[sort]
        raise InputError(f"a teacher {teacher.kind} {why}: take the estimator {other}", setting="estimator")
    raise InputError(
        f"the estimator learns from teachers such as {_OTHERS[wanted][2]}, and a teacher {teacher.kind} is none: take "
        "that one, or the estimator reverse",
        setting="teacher",
    )


def estimate(
    estimator: Estimator,
    lesson: Lesson,
    teacher: Teacher,
    features: int,
    floor: float = -math.inf,
    watch: Watch | None = None,
) -> Estimate:
    """Run one lesson by an estimator, in this process alone."""
    guidance = Guidance(lesson, teacher, features, opening(lesson, teacher, explores=True))
    return estimator(lesson, guidance, guidance.along, floor, watch)
