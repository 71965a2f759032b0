"""The interface of an estimator of θ's gradient, and the estimators by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from fairseq_dlf.core.hypergradient.unroll import Watch
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.registry import Registry
from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.lesson import Lesson
from fairseq_dlf.core.teaching.teachers.stepping import SteppingTeacher
from fairseq_dlf.core.teaching.teachers.teacher import Teacher


@dataclass(frozen=True)
class Estimate:
    """The result of one lesson for θ.

    Attributes:
        loss: a scalar whose gradient is −∂M̃/∂θ or an estimate of it; its weight is 0 if the lesson collapsed.
        figures: for the log, by name; always with `measure_before`, `measure_after` and `student_loss`.
        collapse: why the lesson is not usable, in words; None if it is usable.
        student: ω at the end of the lesson, (parameters,).
    """

    loss: Tensor
    figures: Mapping[str, float]
    collapse: str | None
    student: Tensor


class Estimator(Protocol):
    """A way from a lesson and a teacher to a loss whose gradient moves θ.

    An estimator is a class in a separate file, registered by `ESTIMATORS.register(name)`. One that needs no
    second-order products of the student says so by a class attribute `takes_products = False` (`takes_products`), one
    that learns from the steps of a `SteppingTeacher` by `learns_steps = True`.
    """

    @property
    def signature(self) -> Part:
        """Everything that changes the estimate."""

    def __call__(
        self,
        lesson: Lesson,
        guidance: Guidance,
        along: Callable[[Tensor], Tensor],
        floor: float = 0.0,
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


def learns_steps(estimator: Any) -> bool:
    """Return whether an estimator, or its class, learns from the steps of a `SteppingTeacher`."""
    return bool(getattr(estimator, "learns_steps", False))


def require_match(estimator: type, teacher: type[Teacher]) -> None:
    """Refuse an estimator that cannot find the gradient of this kind of teacher.

    Raises:
        InputError: naming both.
    """
    stepping = issubclass(teacher, SteppingTeacher)
    if stepping and not learns_steps(estimator):
        raise InputError(
            f"a teacher {teacher.kind} moves Φ by its gradient, so that Φ along one lesson does not depend on its "
            "parameters: take the estimator two_unrolls",
            setting="estimator",
        )
    if learns_steps(estimator) and not stepping:
        raise InputError(
            f"the estimator learns from the steps by which a teacher moves Φ, but a teacher {teacher.kind} makes none: "
            "take the teacher lstm, or the estimator reverse",
            setting="teacher",
        )


def estimate(
    estimator: Estimator,
    lesson: Lesson,
    teacher: Teacher,
    features: int,
    floor: float = 0.0,
    watch: Watch | None = None,
) -> Estimate:
    """Run one lesson by an estimator, in this process alone."""
    return estimator(lesson, Guidance(lesson, teacher, features), teacher.along, floor, watch)
