"""Adaptation of a loss while students of images train: the students, their files, and the record of the best one."""

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fairseq_dlf
from fairseq_dlf.core.hypergradient.student import Buffers
from fairseq_dlf.core.hypergradient.unroll import Watch
from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.support.signature import Part, Signature, part_of
from fairseq_dlf.core.teaching.estimators import ESTIMATORS, takes_products
from fairseq_dlf.core.teaching.lesson import Lesson
from fairseq_dlf.core.teaching.loop.adaptation import BEST_STUDENT, Adaptation, Child, windows_of
from fairseq_dlf.core.teaching.loop.journal import LOG_NAME, read_steps
from fairseq_dlf.core.teaching.loop.steps import TeachingPlan
from fairseq_dlf.core.teaching.teacher_file import TeacherHeader
from fairseq_dlf.images.bar import EpisodeBar
from fairseq_dlf.images.records.coefficients import PATH_NAME, CoefficientPath, write_coefficients
from fairseq_dlf.images.records.training import RECORD_NAME, EpochFigures, RunRecord, read_record, write_record
from fairseq_dlf.images.students.files import read_student, write_student
from fairseq_dlf.images.students.lesson import ImageLesson
from fairseq_dlf.images.teachers.school import ImageSchool

logger = logging.getLogger(__name__)


def _option(default: Any, text: str) -> Any:
    """Return a field with its help, from which the command line is built."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class AdaptationSettings:
    """How a loss is adapted; each field is an option of `adapt`, its help the field's description.

    Raises:
        InputError: a setting is out of range.
    """

    window: int = _option(200, "K: updates of a student between two actions, and updates of θ")
    children: int = _option(1, "students that are trained side by side, all of which the teacher learns from")

    def __post_init__(self) -> None:
        require_at_least(1, window=self.window, children=self.children)

    @property
    def signature(self) -> Part:
        return part_of(self)


class ImageFamily:
    """Students of images; a `Family` of the core.

    Args:
        school: data, settings of student and teacher, and the lessons, of which each student is one.
        settings: windows and number of students.
    """

    def __init__(self, school: ImageSchool, settings: AdaptationSettings):
        self.school = school
        self.features = school.features
        self.measure_name, self.value_name = school.measure_name, school.value_name
        self.children, self.window = settings.children, settings.window
        self.windows = windows_of(school.updates, settings.window)
        plan = school.plan_of(self.window)
        self.estimator = ESTIMATORS.make(school.settings.estimator, plan=plan)
        self._first = plan.first if takes_products(self.estimator) else None

    def lesson(self, place: int) -> ImageLesson:
        return self.school.lesson(place + 1)

    def value(self, lesson: Lesson, params: Tensor, buffers: Buffers) -> float:
        return self.school.value(lesson.student, params, buffers)

    def keep(self, folder: Path, name: str, lesson: Lesson, child: Child) -> None:
        lesson.student.load_flat_params(child.params)
        lesson.student.load_buffers(child.buffers)
        write_student(folder / f"{name}.safetensors", lesson.student.module, self.school.student.model)
        if name == BEST_STUDENT and len(child.path):
            write_coefficients(folder / PATH_NAME, self._path(child))

    def header(self, signature: str) -> TeacherHeader:
        return self.school.header(signature)

    def watch(self, label: str, lesson: Lesson) -> AbstractContextManager[Watch]:
        return EpisodeBar(label, lesson.updates, self._first)

    def _path(self, child: Child) -> CoefficientPath:
        data = self.school.data
        epoch = self.school.updates / self.school.student.epochs
        return CoefficientPath(
            coefficients=child.path.cpu(),
            epochs=self.window * torch.arange(len(child.path)) / epoch,
            class_names=data.class_names,
            data=data.name,
            model=self.school.student.model,
            form=self.school.form.spec if self.school.task.has_forms else None,
            phi_start=self.school.settings.phi_start,
        )


class ImageAdaptation:
    """The adaptation of one run in a folder, with the record of its best student.

    Args:
        school, settings: as for `ImageFamily`.
        folder: where students, teacher, log, state and record are written.

    Raises:
        InputError: settings contradict one another.
    """

    def __init__(self, school: ImageSchool, settings: AdaptationSettings, folder: Path):
        self.school = school
        self.folder = folder
        self.family = ImageFamily(school, settings)
        own = school.settings
        plan = TeachingPlan(
            self.family.windows,
            own.teacher_lr,
            own.validate_every,
            own.collapse_share,
            own.bounds(school.data.classes),
        )
        self.signature = Signature.of(
            "dlf-images-adapt",
            school.signature(self.family.estimator).without("progress_points", "validation_students").fields,
            {"loss": school.task.adapted, **settings.signature},
        )
        family, teacher = self.family, school.untaught()
        self.loop = Adaptation(family, teacher, family.estimator, plan, self.signature, folder)

    @property
    def best_accuracy(self) -> float:
        """The greatest value of a student on dev so far."""
        return self.loop.best_value

    def run(self) -> None:
        """Adapt to the end, without reading test.

        Raises:
            CollapsedError: three windows in a row collapsed.
        """
        self.loop.run()

    def finish(self) -> RunRecord:
        """Adapt to the end, read test once with the best student, and write the record.

        Raises:
            CollapsedError: three windows in a row collapsed.
        """
        path = self.folder / RECORD_NAME
        if path.exists():
            logger.info(f"{path} exists already: nothing to train")
            return read_record(path)
        self.run()
        record = self._record()
        write_record(path, record)
        logger.info(
            f"{self.folder}: test error {record.test_error:.2f} %, dev error {record.dev_error:.2f} % after window "
            f"{self.loop.best_step}, {record.elapsed_s:.0f} s"
        )
        return record

    def _record(self) -> RunRecord:
        """Return the record; its curve is the best student alone, since the log has the windows."""
        school, student = self.school, self.loop.lessons[0].student
        read_student(self.folder / f"{BEST_STUDENT}.safetensors").load_into(student.module)
        params, buffers = student.flat_params(), student.buffers()
        lost = school.task.lost(student, params, buffers, school.data.test)
        part = school.data.train.at(slice(len(school.data.dev.labels)))
        rows, best = read_steps(self.folder / LOG_NAME), self.loop.best_step
        losses = [row.student_loss for row in rows if row.step == best and row.student_loss is not None]
        row = EpochFigures(
            epoch=1,
            updates=max(1, min(best * self.family.window, school.updates)),
            train_loss=losses[0] if losses else math.nan,
            train_accuracy=school.task.value(student, params, buffers, part),
            dev_accuracy=self.loop.best_value,
            learning_rate=school.student.learning_rate,
        )
        return RunRecord(
            signature=str(self.signature),
            data=school.data.name,
            model=school.student.model,
            loss=school.task.adapted,
            teacher=str(self.signature),
            taught_on=school.student.model,
            seed=school.settings.seed,
            learning_rate=school.student.learning_rate,
            epochs=1,
            parameters=sum(student.sizes),
            curve=(row,),
            best_epoch=1,
            dev_error=100.0 * (1.0 - self.loop.best_value),
            test_error=100.0 * float(lost.double().mean()),
            test_images=len(school.data.test.labels),
            test_wrong=school.task.wrong(lost),
            elapsed_s=sum(each.elapsed_s for each in rows),
            version=fairseq_dlf.__version__,
            measure=school.task.value_name,
        )


def adaptations(
    school: Callable[[float, int], ImageSchool], settings: AdaptationSettings, rates: Sequence[float]
) -> dict[float, Callable[[int, Path], ImageAdaptation]]:
    """Return what makes the adaptation of a seed in a folder, by the students' learning rate.

    Args:
        school: makes the lessons of a learning rate and a seed.
    """

    def made(rate: float, seed: int, folder: Path) -> ImageAdaptation:
        return ImageAdaptation(school(rate, seed), settings, folder)

    return {rate: partial(made, rate) for rate in rates}
