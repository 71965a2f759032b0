"""One student's run of training: its start, and all that each update depends on."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.probe import twice_differentiable
from fairseq_dlf.core.hypergradient.student import Buffers, Forward, Objective, Student
from fairseq_dlf.core.hypergradient.unroll import Step
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.core.teaching.teachers.attention import Teacher
from fairseq_dlf.images.data.batches import Batch, Batches
from fairseq_dlf.images.data.splits import ImageData
from fairseq_dlf.images.losses.registry import Loss, LossInput
from fairseq_dlf.images.records.coefficients import CoefficientPath
from fairseq_dlf.images.students.models import build_model
from fairseq_dlf.images.students.progress import StudentProgress, features
from fairseq_dlf.images.students.settings import StudentSettings

# Salts keep a run's sources of randomness apart.
MODEL_SALT, BATCH_SALT, STEP_SALT = 1, 2, 3


class StudentRun:
    """A run of T updates from fresh weights, the same for the same seed.

    `observe` and `source` go to `unroll` or `run_episode`. With a teacher, Φ_t follows the
    student's progress, which is measured at evenly spaced updates on the way forward and
    remembered for the reverse pass; in between, only the share of updates moves.

    Args:
        data: images, on the device of the run.
        settings: how the student is trained.
        loss: what it minimises.
        teacher: gives Φ_t; without one Φ is the identity throughout.
        seed: of weights, batches and augmentation.
        exact: whether forwards must have second derivatives.
        head_bias: whether the last layer has a bias.

    Attributes:
        student: the student, its module in training mode.
        updates: T.
        progress: s_t of every update, (T, features); rows are filled in on the way forward.
    """

    def __init__(
        self,
        data: ImageData,
        settings: StudentSettings,
        loss: Loss,
        teacher: Teacher | None,
        seed: int,
        exact: bool = False,
        head_bias: bool = True,
    ):
        device = data.train.images.device
        module = build_model(settings.model, data.shape, data.classes, mixed_seed(seed, MODEL_SALT), head_bias)
        self.student = Student(
            module.to(device).train(), _objective(loss), twice_differentiable if exact else nullcontext
        )
        self.settings = settings
        self.teacher = teacher
        steps_per_epoch = len(data.train.labels) // settings.batch_size
        self.updates = settings.updates(steps_per_epoch)
        batch_seed = mixed_seed(seed, BATCH_SALT)
        self.batches = Batches(data.train, settings.batch_size, batch_seed, self.updates, data.augments)
        sample = slice(settings.progress_images or None)
        self._measured = StudentProgress(data.train.at(sample), data.dev.at(sample), data.classes)
        self._seed = mixed_seed(seed, STEP_SALT)
        self._identity = torch.eye(data.classes, device=device).flatten()
        # Rounded up, so that the parts are never more than the points.
        self._interval = -(-self.updates // settings.progress_points)
        self._block: tuple[int, Tensor] | None = None
        self.progress = torch.zeros(self.updates, len(features(data.classes)) if teacher else 0, device=device)

    def observe(self, t: int, params: Tensor, buffers: Buffers) -> None:
        """Measures the student where a measurement is due."""
        if self.teacher is None or t % self._interval:
            return
        until = min(t + self._interval, self.updates)
        self.progress[t:until] = self._measured.measure(self.student, params, buffers, t / self.updates)
        self.progress[t:until, 0] = torch.arange(t, until) / self.updates
        self._block = None

    def source(self, t: int) -> Step:
        """All that update t depends on."""
        rate = self.settings.rate(t, self.updates)
        return Step(self.coefficients(t), self.batches.batch(t), self._seed, rate)

    def coefficients(self, t: int) -> Tensor:
        """Φ_t, (classes²,)."""
        if self.teacher is None:
            return self._identity
        begin = t - t % self._interval
        if self._block is None or self._block[0] != begin:
            with torch.no_grad():
                self._block = begin, self.teacher(self.progress[begin : begin + self._interval])
        return self._block[1][t - begin]

    def measured_updates(self) -> list[int]:
        """The updates before which the progress is measured."""
        return list(range(0, self.updates, self._interval))


def _objective(loss: Loss) -> Objective:
    def objective(forward: Forward, coefficients: Tensor, batch: Batch) -> Tensor:
        scores: Any = forward(batch.images)
        return loss(LossInput(scores, batch.labels, coefficients, batch.iteration, batch.iterations))

    return objective


def coefficient_path(run: StudentRun, data: ImageData) -> CoefficientPath:
    """Φ of a finished run at the updates where its progress was measured."""
    updates = run.measured_updates()
    coefficients = torch.stack([run.coefficients(t) for t in updates]).cpu()
    epochs = torch.tensor(updates) / run.batches.steps_per_epoch
    return CoefficientPath(
        coefficients=coefficients.view(-1, data.classes, data.classes),
        epochs=epochs,
        class_names=data.class_names,
        data=data.name,
        model=run.settings.model,
    )
