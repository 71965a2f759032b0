"""Settings of the training of a student of images."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import fairseq_dlf
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.core.teaching.forms import FORMS, Form, Matrix
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.teacher_file import TeacherFile
from fairseq_dlf.core.teaching.teachers import StaticTeacher, Teacher
from fairseq_dlf.images.data.splits import ImageData
from fairseq_dlf.images.losses.registry import make_loss
from fairseq_dlf.images.students.files import StudentFile
from fairseq_dlf.images.students.lesson import ImageCourse
from fairseq_dlf.images.students.settings import StudentSettings
from fairseq_dlf.images.students.tasks import CLASSIFICATION, TASKS, Task
from fairseq_dlf.images.students.tasks.task import require_loss


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of the training of a student.

    Attributes:
        student: learning rate, batches, length.
        loss: name of a loss family.
        loss_options: options of the loss.
        teacher: the teacher of a loss that needs one.
        warm: a student that training starts from; None starts from fresh weights.
        task: what the student is trained for, a name in `TASKS`.
    """

    student: StudentSettings
    loss: str
    loss_options: Mapping[str, float] = field(default_factory=dict)
    teacher: TeacherFile | None = None
    warm: StudentFile | None = None
    task: str = CLASSIFICATION

    @property
    def chosen_task(self) -> Task:
        """What the student is trained for."""
        return TASKS.make(self.task)

    @property
    def form(self) -> Form:
        """The form of Φ: the teacher's or, without a teacher, the paper's matrix."""
        return Matrix() if self.teacher is None else FORMS.make(self.teacher.header.form)

    def __post_init__(self) -> None:
        task = self.chosen_task
        require_loss(task, self.loss)
        make_loss(self.loss, self.loss_options, task.losses)
        needs_teacher = task.losses[self.loss].needs_teacher
        if needs_teacher and not task.has_forms:
            raise InputError(f"the loss {self.loss} is adapted while a student trains: use `adapt`", setting="loss")
        if needs_teacher and self.teacher is None:
            raise InputError(
                f"the loss {self.loss} takes its coefficients from a teacher: pass a teacher's file", setting="teacher"
            )
        if not needs_teacher and self.teacher is not None:
            raise InputError(
                f"the loss {self.loss} takes no teacher: leave the teacher out, or take the loss dlf", setting="teacher"
            )

    def guided_course(self, data: ImageData, seed: int) -> tuple[ImageCourse, Guidance]:
        """Return the run of one seed and its coefficients: the teacher's, or neutral ones if no loss reads them."""
        task, options = self.chosen_task, self.loss_options
        loss, head_bias = make_loss(self.loss, options, task.losses), task.losses[self.loss].head_bias
        if self.teacher is None:
            teacher: Teacher = StaticTeacher(self.form.neutral(data.classes))
        else:
            teacher = self.teacher.teacher
        read = teacher.statistics
        run = data, self.student, loss, seed, self.warm
        own = task.losses.start(self.loss, data.classes, options)
        course = ImageCourse(*run, head_bias=head_bias, form=self.form, statistics=read, task=task, of_loss=own)
        seen = len(task.features(read, data.classes, self.form)) if teacher.reads_progress else 1
        return course, Guidance(course, teacher.to(data.train.images.device), seen)

    def signature(self, data: ImageData, seed: int) -> Signature:
        """Return everything that changes the student."""
        taught = {} if self.teacher is None else {"teacher": self.teacher.digest, **self.student.progress_signature}
        return Signature.of(
            "dlf-images-train",
            {"start": "fresh" if self.warm is None else f"warm-{self.warm.digest}"},
            {"loss": self.loss, "loss_options": dict(sorted(self.loss_options.items()))},
            self.student.signature,
            taught,
            {**data.signature, "seed": seed, "version": fairseq_dlf.__version__, **self.chosen_task.signature},
        )
