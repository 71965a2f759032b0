"""The loop over teacher steps: lessons, Adam on θ, validation, choice of the best teacher, resuming."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.student import joined
from fairseq_dlf.core.hypergradient.unroll import Watch
from fairseq_dlf.core.support.checks import require_at_least, require_between, require_positive
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.core.teaching.estimators.estimator import Estimate, Estimator, estimate
from fairseq_dlf.core.teaching.lesson import Lesson
from fairseq_dlf.core.teaching.loop.collapse import CollapseWatch
from fairseq_dlf.core.teaching.loop.journal import LOG_NAME, TeacherStep, append_step, read_steps, replace_steps
from fairseq_dlf.core.teaching.loop.saved import SavedTeaching
from fairseq_dlf.core.teaching.teacher_file import TeacherHeader, write_teacher
from fairseq_dlf.core.teaching.teachers.teacher import Teacher

logger = logging.getLogger(__name__)

BEST_NAME, LAST_NAME = "teacher.safetensors", "teacher_last.safetensors"


class Validation(NamedTuple):
    """The result of validating a teacher.

    Attributes:
        value: a figure; greater is better.
        keep: writes the files that belong to this teacher into a folder; called if it is the best.
    """

    value: float
    keep: Callable[[Path], None]


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


@dataclass(frozen=True)
class TeachingPlan:
    """How long and how fast a teacher learns.

    Attributes:
        steps: teacher steps, each one lesson and one update of θ.
        rate: Adam's learning rate on θ.
        validate_every: teacher steps between validations.
        collapse_share: as in `CollapseWatch`.
        bounds: least and greatest Φ, (coefficients,) each; None if Φ has no bounds.
    """

    steps: int
    rate: float = 1e-4
    validate_every: int = 5
    collapse_share: float = 0.9
    bounds: tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        require_at_least(1, steps=self.steps, validate_every=self.validate_every)
        require_positive(rate=self.rate)
        require_between(0.0, 1.0, collapse_share=self.collapse_share)


class Teaching:
    """Teaching in steps, in a folder where it can be resumed bit for bit.

    Args:
        school: gives lessons and validates teachers.
        teacher: the untaught teacher, on the device of the run.
        estimator: estimates the gradient of θ from a lesson.
        plan: how long and how fast the teacher learns.
        signature: everything except the number of steps that changes the teacher.
        folder: where teacher, log and state are written; nothing is read or written before `run`.
    """

    def __init__(
        self,
        school: School,
        teacher: Teacher,
        estimator: Estimator,
        plan: TeachingPlan,
        signature: Signature,
        folder: Path,
    ):
        self.school = school
        self.teacher = teacher
        self.estimator = estimator
        self.plan = plan
        self.signature = signature
        self.folder = folder
        self.optimizer = torch.optim.Adam(teacher.parameters(), lr=plan.rate)
        self.collapses = CollapseWatch(plan.collapse_share)
        self.done = -1  # -1: not even the untaught teacher is validated
        self.best_step, self.best_value = 0, 0.0

    def run(self) -> None:
        """Teach from the folder's state until all steps are done.

        Raises:
            CollapsedError: three lessons in a row collapsed.
            InputError: the folder holds another run, or its state is damaged.
        """
        self._restore()
        logger.info(f"teaching: {self.signature}")
        if self.done >= self.plan.steps:
            logger.info(f"{self.folder} has {self.done} teacher steps already: ask for more steps to go on")
        while self.done < self.plan.steps:
            self._step(self.done + 1)
        if self.best_step == 0:
            logger.warning(
                "no validated teacher was better than the untaught one, which is what "
                f"{self.folder / BEST_NAME} holds; the last one is in {LAST_NAME}"
            )
        logger.info(f"best {self.school.value_name} {self.best_value:.2%}, after {self.best_step} teacher steps")

    def _step(self, step: int) -> None:
        """Validate the untaught teacher in step 0; run a lesson in every other step."""
        began = time.perf_counter()
        figures = self._lesson(step) if step else {}
        if step % self.plan.validate_every == 0 or step == self.plan.steps:
            figures["dev_accuracy"] = self._validate(step)
        self.done = step
        self._report(step, figures, time.perf_counter() - began)
        self._save()
        self.collapses.require_recovery(f"The best teacher so far is in {self.folder / BEST_NAME}")

    # A lesson -------------------------------------------------------------------------

    def _lesson(self, step: int) -> dict[str, Any]:
        lesson = self.school.lesson(step)
        with self.school.watch(f"teacher step {step}/{self.plan.steps}", lesson) as watch:
            features, floor = len(self.school.features), self.collapses.floor
            estimated = estimate(self.estimator, lesson, self.teacher, features, floor, watch)
        self.collapses.see(estimated.collapse, estimated.figures["measure_after"])
        figures = {name: value for name, value in estimated.figures.items() if name in NO_LESSON}
        if estimated.collapse is not None:
            logger.warning(f"lesson {step} collapsed, the teacher does not learn from it: {estimated.collapse}")
            return {**figures, "collapsed": True}
        return {**figures, **self._learn(estimated)}

    def _learn(self, estimated: Estimate) -> dict[str, float]:
        """Update θ once."""
        parameters = list(self.teacher.parameters())
        before = _flat(parameters)
        gradients = torch.autograd.grad(estimated.loss, parameters, materialize_grads=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        if self.plan.bounds is not None:
            self.teacher.bound(*(bound.to(before.device) for bound in self.plan.bounds))
        return {
            "gradient_norm": float(joined(gradients).norm()),
            "dtheta_norm": float((_flat(parameters) - before).norm()),
        }

    def _validate(self, step: int) -> float:
        """Validate the teacher, and keep it if it is the best so far."""
        validation = self.school.validate(self.teacher)
        header = self.school.header(str(Signature.of(self.signature.program, self.signature.fields, {"step": step})))
        write_teacher(self.folder / LAST_NAME, self.teacher, header)
        if step == 0 or validation.value > self.best_value:
            self.best_step, self.best_value = step, validation.value
            write_teacher(self.folder / BEST_NAME, self.teacher, header)
            validation.keep(self.folder)
        return validation.value

    # The folder -----------------------------------------------------------------------

    def _report(self, step: int, figures: dict[str, Any], elapsed_s: float) -> None:
        row = TeacherStep(step=step, elapsed_s=elapsed_s, **{**NO_LESSON, **figures})
        append_step(self.folder / LOG_NAME, row)
        described = row.describe(self.school.measure_name, self.school.value_name)
        best = "" if row.dev_accuracy is None else f" (best {self.best_value:.2%})"
        logger.info(f"step {step}/{self.plan.steps}{described}{best}, {elapsed_s:.1f} s")

    def _save(self) -> None:
        SavedTeaching(
            done=self.done,
            teacher=self.teacher.state_dict(),
            optimizer=self.optimizer.state_dict(),
            best_step=self.best_step,
            best_value=self.best_value,
            collapses=self.collapses.state(),
        ).write(self.folder, str(self.signature))

    def _restore(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        saved = SavedTeaching.read(self.folder, str(self.signature))
        log = self.folder / LOG_NAME
        if saved is None:
            log.unlink(missing_ok=True)
            return
        self.done, self.best_step, self.best_value = saved.done, saved.best_step, saved.best_value
        saved.put_into(self.teacher, self.optimizer, self.collapses, self.folder)
        # Steps after the last saved state will be taken again, so their rows are removed.
        replace_steps(log, [row for row in read_steps(log) if row.step <= self.done])
        logger.info(f"going on in {self.folder} after {self.done} teacher steps")


# Figures in a line of the log without a usable lesson.
NO_LESSON: dict[str, Any] = {
    "measure_before": None,
    "measure_after": None,
    "student_loss": None,
    "dev_accuracy": None,
    "gradient_norm": 0.0,
    "dtheta_norm": 0.0,
    "dphi_norm": 0.0,
    "leverage": 0.0,
    "cotangent_growth": 0.0,
    "collapsed": False,
}


def _flat(parameters: list[torch.nn.Parameter]) -> Tensor:
    return joined([parameter.detach() for parameter in parameters])
