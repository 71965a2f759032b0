"""A student's run on images: its start, and everything except Φ that each update depends on."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.episode import Measure
from fairseq_dlf.core.hypergradient.probe import twice_differentiable
from fairseq_dlf.core.hypergradient.student import Buffers, Forward, Objective, Student
from fairseq_dlf.core.hypergradient.update_rules import SGD, StudentState
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.core.teaching.forms import Form, TypeFacts
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.lesson import LessonStep
from fairseq_dlf.images.data.batches import Batches
from fairseq_dlf.images.data.splits import ImageData, ImageSet
from fairseq_dlf.images.losses.registry import PAPER_FORM, Loss, LossInput
from fairseq_dlf.images.records.coefficients import CoefficientPath, thinned
from fairseq_dlf.images.students.files import StudentFile
from fairseq_dlf.images.students.models import build_model
from fairseq_dlf.images.students.settings import StudentSettings
from fairseq_dlf.images.students.statistics import PROGRESS
from fairseq_dlf.images.students.tasks import CLASSIFICATION, TASKS, Task

# Salts keep a run's sources of randomness apart.
MODEL_SALT, BATCH_SALT, STEP_SALT = 1, 2, 3


class TimedBatch(NamedTuple):
    """A batch and its place in the run, on which some losses depend.

    Attributes:
        images: (n, channels, height, width), float32.
        labels: (n,), int64.
        iteration: number of the update, from 0.
        iterations: planned updates of the run.
    """

    images: Tensor
    labels: Tensor
    iteration: int
    iterations: int


class ImageCourse:
    """A run of T updates, the same for the same seed; a `Course` of the core.

    Args:
        data: images, on the device of the run.
        settings: how the student is trained.
        loss: the loss that the student minimises.
        seed: of weights, batches and augmentation.
        warm: a student to start from; None starts from fresh weights.
        exact: whether forward passes must have second derivatives.
        head_bias: whether the last layer has a bias.
        form: how Φ acts, for losses that read it.
        statistics: what the teacher reads of the student, as `Teacher.statistics`.
        task: what the student is trained for; classification by default.
        of_loss: parameters of the loss itself, before training, which are trained with the student's.

    Attributes:
        student: the student, its module in training mode.
        updates: T.
        interval: updates between two observations of the student.
    """

    def __init__(
        self,
        data: ImageData,
        settings: StudentSettings,
        loss: Loss,
        seed: int,
        warm: StudentFile | None = None,
        exact: bool = False,
        head_bias: bool = True,
        form: Form = PAPER_FORM,
        statistics: str = PROGRESS,
        task: Task | None = None,
        of_loss: Tensor | None = None,
    ):
        self.task = TASKS.make(CLASSIFICATION) if task is None else task
        device = data.train.images.device
        weights = mixed_seed(seed, MODEL_SALT)
        module = build_model(settings.model, data.shape, data.classes, weights, head_bias, of_loss)
        if warm is not None:
            warm.load_into(module)
        form = form.fitted(_class_facts(data))
        self.student = Student(
            module.to(device).train(), image_objective(loss, form), twice_differentiable if exact else nullcontext
        )
        self.settings = settings
        self.form = form
        self.batches = Batches(data.train, settings.batch_size, mixed_seed(seed, BATCH_SALT), data.augments)
        self.updates = settings.updates(self.batches.steps_per_epoch)
        # Rounded up, so that there are never more intervals than points.
        self.interval = -(-self.updates // settings.progress_points)
        sample = slice(settings.progress_images or None)
        samples = data.train.at(sample), data.dev.at(sample)
        self._statistics = self.task.statistics(statistics, *samples, data.classes, form)
        self._seed = mixed_seed(seed, STEP_SALT)

    @property
    def rule(self) -> SGD:
        return self.settings.rule

    @property
    def start(self) -> StudentState:
        return self.rule.initial(self.student.flat_params())

    def step(self, t: int) -> LessonStep:
        """Return batch, seed and learning rate of update t."""
        images, labels = self.batches.batch(t)
        timed = TimedBatch(images, labels, t, self.updates)
        return LessonStep(timed, self._seed, self.settings.rate(t, self.updates))

    def observe(self, t: int, params: Tensor, buffers: Buffers) -> Tensor:
        """Measure what the teacher reads, (features − 1,)."""
        return self._statistics.measure(self.student, params, buffers)


def _class_facts(data: ImageData) -> TypeFacts:
    labels = data.train.labels.cpu()
    return TypeFacts(torch.bincount(labels, minlength=data.classes).float(), torch.zeros(data.classes).long())


class ImageLesson(ImageCourse):
    """A course with second derivatives and a measure of its end; a `Lesson` of the core.

    Args:
        measure: makes M̃ of a student and dev images, as what `MEASURES` holds does.
        measured: dev images of the measure.
    """

    def __init__(
        self,
        data: ImageData,
        settings: StudentSettings,
        loss: Loss,
        seed: int,
        measure: Callable[[Student, ImageSet], Measure],
        measured: ImageSet,
        warm: StudentFile | None = None,
        form: Form = PAPER_FORM,
        statistics: str = PROGRESS,
        task: Task | None = None,
    ):
        super().__init__(data, settings, loss, seed, warm, exact=True, form=form, statistics=statistics, task=task)
        self.measure = measure(self.student, measured)


def coefficient_path(
    course: ImageCourse, guidance: Guidance, data: ImageData, phi_start: float | None
) -> CoefficientPath:
    """Return Φ of a finished run at updates where its progress was measured.

    Args:
        phi_start: Φ before teaching, as a multiple of the neutral one; None where it is not known.
    """
    observed = guidance.observed()
    updates = [observed[place] for place in thinned(len(observed), guidance.teacher.coefficients)]
    return CoefficientPath(
        coefficients=torch.stack([guidance.coefficients(t) for t in updates]).cpu(),
        epochs=torch.tensor(updates) / course.batches.steps_per_epoch,
        class_names=data.class_names,
        data=data.name,
        model=course.settings.model,
        form=course.form.spec if course.task.has_forms else None,
        phi_start=phi_start,
    )


def image_objective(loss: Loss, form: Form = PAPER_FORM) -> Objective:
    """L_Φ of a `TimedBatch`: the mean loss of its images."""

    def objective(forward: Forward, coefficients: Tensor, batch: TimedBatch) -> Tensor:
        scores: Any = forward(batch.images)
        return loss(LossInput(scores, batch.labels, coefficients, batch.iteration, batch.iterations, form))

    return objective
