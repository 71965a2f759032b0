"""The interface of an estimator of θ's gradient, and the estimators by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from fairseq_dlf.core.hypergradient.unroll import Watch
from fairseq_dlf.core.support.registry import Registry
from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.lesson import Lesson
from fairseq_dlf.core.teaching.teachers.teacher import Teacher


@dataclass(frozen=True)
class Estimate:
    """What one lesson says of θ.

    Attributes:
        loss: a scalar whose gradient is −∂M̃/∂θ, or an estimate of it; without weight where the lesson collapsed.
        figures: for the log, by name; `measure_before`, `measure_after`, `student_loss` are always there.
        collapse: why nothing can be learned from the lesson, in words; None where something can.
        student: ω at the end of the lesson, (parameters,).
    """

    loss: Tensor
    figures: Mapping[str, float]
    collapse: str | None
    student: Tensor


class Estimator(Protocol):
    """From a lesson and a teacher to a loss whose gradient moves θ.

    An estimator is a class in a file of its own, registered by `ESTIMATORS.register(name)`.
    """

    @property
    def signature(self) -> Part:
        """All that changes the estimate."""

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
            guidance: the teacher's coefficients along it, of which nothing was observed yet.
            along: Φ_t of the whole run from s_t, (T, features) → (T, coefficients), with a graph to θ:
                `Teacher.along`, or what wraps it for several processes.
            floor: a lesson whose measure ends below this counts as collapsed.
            watch: is told of the progress.
        """


ESTIMATORS: Registry[Estimator] = Registry("estimator")


def estimate(
    estimator: Estimator,
    lesson: Lesson,
    teacher: Teacher,
    features: int,
    floor: float = 0.0,
    watch: Watch | None = None,
) -> Estimate:
    """One lesson by an estimator, in this process alone."""
    return estimator(lesson, Guidance(lesson, teacher, features), teacher.along, floor, watch)
