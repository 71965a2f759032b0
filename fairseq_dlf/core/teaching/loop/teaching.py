"""The loop over lessons with students of their own: each lesson an update of θ, and validation by fixed students."""

import logging
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from fairseq_dlf.core.hypergradient.unroll import Watch
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.core.teaching.estimators.estimator import Estimator, estimate
from fairseq_dlf.core.teaching.lesson import Lesson
from fairseq_dlf.core.teaching.loop.steps import (
    BEST_NAME,
    LAST_NAME,
    TeacherSteps,
    TeachingPlan,
    Validation,
    usable_figures,
)
from fairseq_dlf.core.teaching.teacher_file import TeacherHeader
from fairseq_dlf.core.teaching.teachers.teacher import Teacher

logger = logging.getLogger(__name__)


class School(Protocol):
    """What a front end provides to the loop.

    Attributes:
        features: names of s_t.
        measure_name, value_name: of M̃ and of a validation's value, for the log.
    """

    features: tuple[str, ...]
    measure_name: str
    value_name: str

    def lesson(self, step: int) -> Lesson:
        """Return the lesson of a teacher step, the same at every call for the same step."""

    def validate(self, teacher: Teacher) -> Validation:
        """Teach fixed students, the same for every teacher, without learning from it."""

    def header(self, signature: str) -> TeacherHeader:
        """Return the header of a teacher file."""

    def watch(self, label: str, lesson: Lesson) -> AbstractContextManager[Watch]:
        """Show the progress of a lesson."""


class Teaching(TeacherSteps):
    """Teaching in steps, in a folder where it can be resumed bit for bit.

    Args:
        school: gives lessons and validates teachers.
        teacher, estimator, plan, signature, folder: as for `TeacherSteps`.
    """

    work = "teaching"

    def __init__(
        self,
        school: School,
        teacher: Teacher,
        estimator: Estimator,
        plan: TeachingPlan,
        signature: Signature,
        folder: Path,
    ):
        super().__init__(teacher, estimator, plan, signature, folder, school.measure_name, school.value_name)
        self.school = school

    @property
    def _no_better(self) -> str:
        return (
            "no validated teacher was better than the untaught one, which is what "
            f"{self.folder / BEST_NAME} holds; the last one is in {LAST_NAME}"
        )

    def _lesson(self, step: int) -> dict[str, Any]:
        lesson = self.school.lesson(step)
        with self.school.watch(f"teacher step {step}/{self.plan.steps}", lesson) as watch:
            features, floor = len(self.school.features), self.collapses.floor
            estimated = estimate(self.estimator, lesson, self.teacher, features, floor, watch)
        self.collapses.see(estimated.collapse, estimated.figures["measure_after"])
        figures = usable_figures(estimated.figures)
        if estimated.collapse is not None:
            logger.warning(f"lesson {step} collapsed, the teacher does not learn from it: {estimated.collapse}")
            return {**figures, "collapsed": True}
        return {**figures, **self._learn([estimated.loss])}

    def _validation(self, step: int) -> Validation:
        return self.school.validate(self.teacher)

    def _header(self, signature: str) -> TeacherHeader:
        return self.school.header(signature)
