"""What the loops over teacher steps have in common: Adam on θ, the best teacher, collapses, the log, resuming."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.student import joined
from fairseq_dlf.core.support.checks import require_at_least, require_between, require_positive
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.core.teaching.estimators.estimator import Estimator, state_of
from fairseq_dlf.core.teaching.loop.collapse import CollapseWatch
from fairseq_dlf.core.teaching.loop.journal import LOG_NAME, TeacherStep, append_step, read_steps, replace_steps
from fairseq_dlf.core.teaching.loop.saved import SavedTeaching
from fairseq_dlf.core.teaching.teacher_file import TeacherHeader, write_teacher
from fairseq_dlf.core.teaching.teachers.teacher import Teacher

logger = logging.getLogger(__name__)

BEST_NAME, LAST_NAME = "teacher.safetensors", "teacher_last.safetensors"

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
    "reward": None,
}


class Validation(NamedTuple):
    """The result of validating a teacher.

    Attributes:
        value: a figure; greater is better.
        keep: writes the files that belong to this teacher into a folder; called if it is the best.
    """

    value: float
    keep: Callable[[Path], None]


@dataclass(frozen=True)
class TeachingPlan:
    """How long and how fast a teacher learns.

    Attributes:
        steps: teacher steps, each one lesson, or one window of a run, and one update of θ.
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


class TeacherSteps(ABC):
    """Teacher steps in a folder, where they can be resumed bit for bit.

    Args:
        teacher: the untaught teacher, on the device of the run.
        estimator: estimates the gradient of θ.
        plan: how long and how fast the teacher learns.
        signature: everything except the number of steps that changes the teacher.
        folder: where teacher, log and state are written; nothing is read or written before `run`.
        measure_name, value_name: of M̃ and of a validation's value, for the log.

    Attributes:
        work: what the steps do, for the log.
    """

    work: ClassVar[str]
    # The class of the folder's state.
    saved: ClassVar[type[SavedTeaching]] = SavedTeaching

    def __init__(
        self,
        teacher: Teacher,
        estimator: Estimator,
        plan: TeachingPlan,
        signature: Signature,
        folder: Path,
        measure_name: str,
        value_name: str,
    ):
        self.teacher = teacher
        self.estimator = estimator
        self.plan = plan
        self.signature = signature
        self.folder = folder
        self.measure_name, self.value_name = measure_name, value_name
        self.optimizer = torch.optim.Adam(teacher.parameters(), lr=plan.rate)
        self.collapses = CollapseWatch(plan.collapse_share)
        self.done = -1  # -1: not even the untaught teacher is validated
        self.best_step, self.best_value = 0, 0.0

    def run(self) -> None:
        """Go on from the folder's state until all steps are done.

        Raises:
            CollapsedError: three lessons in a row collapsed.
            InputError: the folder holds another run, or its state is damaged.
        """
        self._restore()
        logger.info(f"{self.work}: {self.signature}")
        if self.done >= self.plan.steps:
            logger.info(f"{self.folder} has {self.done} teacher steps already: {self._more}")
        while self.done < self.plan.steps:
            self._step(self.done + 1)
        if self.best_step == 0:
            logger.warning(self._no_better)
        logger.info(f"best {self.value_name} {self.best_value:.2%}, after {self.best_step} teacher steps")

    def _step(self, step: int) -> None:
        """Validate the untaught teacher in step 0; learn in every other step."""
        began = time.perf_counter()
        figures = self._lesson(step) if step else {}
        if step % self.plan.validate_every == 0 or step == self.plan.steps:
            figures["dev_accuracy"] = self._validate(step)
        self.done = step
        self._report(step, figures, time.perf_counter() - began)
        self._state().write(self.folder, str(self.signature))
        self.collapses.require_recovery(f"The best teacher so far is in {self.folder / BEST_NAME}")

    # What a loop does -----------------------------------------------------------------

    _more: ClassVar[str] = "ask for more steps to go on"

    @property
    @abstractmethod
    def _no_better(self) -> str:
        """What is said where no step was better than step 0."""

    @abstractmethod
    def _lesson(self, step: int) -> dict[str, Any]:
        """Make a step, and return its figures: names of `NO_LESSON`."""

    @abstractmethod
    def _validation(self, step: int) -> Validation:
        """Return the value of what the steps so far have come to."""

    @abstractmethod
    def _header(self, signature: str) -> TeacherHeader:
        """Return the header of a teacher file."""

    # Parts -----------------------------------------------------------------------------

    def _learn(self, losses: Sequence[Tensor]) -> dict[str, float]:
        """Update θ once by the mean of losses; nothing happens where there are none."""
        if not losses:
            return {}
        parameters = list(self.teacher.parameters())
        before = _flat(parameters)
        each = [torch.autograd.grad(loss, parameters, materialize_grads=True) for loss in losses]
        gradients = [torch.stack(found).mean(dim=0) for found in zip(*each, strict=True)]
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
        """Validate, and keep the teacher if it is the best so far."""
        validation = self._validation(step)
        header = self._header(str(Signature.of(self.signature.program, self.signature.fields, {"step": step})))
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
        described = row.describe(self.measure_name, self.value_name)
        best = "" if row.dev_accuracy is None else f" (best {self.best_value:.2%})"
        logger.info(f"step {step}/{self.plan.steps}{described}{best}, {elapsed_s:.1f} s")

    def _state(self, **more: Any) -> SavedTeaching:
        """Return what the folder keeps; a loop adds its own fields."""
        return self.saved(
            done=self.done,
            teacher=self.teacher.state_dict(),
            optimizer=self.optimizer.state_dict(),
            best_step=self.best_step,
            best_value=self.best_value,
            collapses=self.collapses.state(),
            estimator=state_of(self.estimator),
            **more,
        )

    def _take(self, saved: Any) -> None:
        """Go on from a state; a loop takes its own fields."""
        self.done, self.best_step, self.best_value = saved.done, saved.best_step, saved.best_value
        saved.put_into(self.teacher, self.optimizer, self.collapses, self.estimator, self.folder)

    def _restore(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        saved = self.saved.read(self.folder, str(self.signature))
        log = self.folder / LOG_NAME
        if saved is None:
            log.unlink(missing_ok=True)
            return
        self._take(saved)
        # Steps after the last saved state will be taken again, so their rows are removed.
        replace_steps(log, [row for row in read_steps(log) if row.step <= self.done])
        logger.info(f"going on in {self.folder} after {self.done} teacher steps")


def usable_figures(figures: Mapping[str, float]) -> dict[str, Any]:
    """Return those of an estimate's figures that stand in the log."""
    return {name: value for name, value in figures.items() if name in NO_LESSON}


def _flat(parameters: list[torch.nn.Parameter]) -> Tensor:
    return joined([parameter.detach() for parameter in parameters])
