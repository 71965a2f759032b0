"""Training of one student: epoch by epoch, with the best student on dev, and test read once at the end."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

import fairseq_dlf
from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.support.errors import InputError, StateError, UserError
from fairseq_dlf.images.bar import EpisodeBar
from fairseq_dlf.images.data.splits import ImageData
from fairseq_dlf.images.records.coefficients import PATH_NAME, write_coefficients
from fairseq_dlf.images.records.training import RECORD_NAME, EpochFigures, RunRecord, read_record, write_record
from fairseq_dlf.images.students.files import read_student, write_student
from fairseq_dlf.images.students.lesson import coefficient_path
from fairseq_dlf.images.teachers.files import model_of, phi_start_of
from fairseq_dlf.images.training.settings import TrainingSettings
from fairseq_dlf.images.training.state import TrainingState

logger = logging.getLogger(__name__)

BEST_NAME = "best.safetensors"


class DivergedError(StateError):
    """A student whose loss is no longer finite."""


class Training:
    """Training of one student in a folder, where it can be resumed bit for bit.

    Args:
        data: images, on the device of the run.
        settings: how the student is trained.
        seed: of weights, batches and augmentation.
        folder: where state, best student and record are written.

    Raises:
        InputError: the folder holds another run, or a damaged state.
    """

    def __init__(self, data: ImageData, settings: TrainingSettings, seed: int, folder: Path):
        self.data = data
        self.settings = settings
        self.seed = seed
        self.folder = folder
        self.signature = str(settings.signature(data, seed))
        self.course, self.guidance = settings.guided_course(data, seed)
        start = TrainingState.at_start(self.course.start, self.course.student.buffers(), self.guidance.progress)
        saved = start.restored(folder, self.signature, self.course.batches.steps_per_epoch, self.course.updates)
        self.state = start
        if saved is not None:
            self.guidance.restore(saved.progress, saved.updates)
            # The guidance goes on filling in its own rows; a copy of them would be saved as it was read.
            self.state = replace(saved, progress=self.guidance.progress)
            logger.info(f"going on in {folder} after {len(saved.curve)} epochs")

    @property
    def best_accuracy(self) -> float:
        """The greatest dev accuracy so far."""
        return self.state.best_accuracy

    def run(self) -> None:
        """Train from the folder's state to the end, without reading test images.

        Raises:
            DivergedError: the loss is not finite after an epoch.
        """
        if self.state.updates < self.course.updates:
            logger.info(f"training: {self.signature}")
        while self.state.updates < self.course.updates:
            self._epoch()

    def finish(self) -> RunRecord:
        """Train to the end, read test once with the best student, and write the record."""
        path = self.folder / RECORD_NAME
        if path.exists():
            logger.info(f"{path} exists already: nothing to train")
            return read_record(path)
        self.run()
        record = self._record()
        write_record(path, record)
        logger.info(
            f"{self.folder}: test error {record.test_error:.2f} %, dev error {record.dev_error:.2f} % at epoch "
            f"{record.best_epoch}, {record.elapsed_s:.0f} s"
        )
        return record

    def _epoch(self) -> None:
        began, state, course = time.perf_counter(), self.state, self.course
        steps = min(course.batches.steps_per_epoch, course.updates - state.updates)
        with EpisodeBar(f"epoch {len(state.curve) + 1}", course.updates, done=state.updates) as bar:
            unrolled = unroll(
                course.student,
                course.rule,
                self.guidance.source,
                state.student,
                steps,
                watch=bar,
                observe=self.guidance.observe,
                buffers=state.buffers,
                first=state.updates,
            )
        after = state.after(unrolled.final, dict(unrolled.buffers), steps, time.perf_counter() - began)
        self.state = after.measured(self._figures(after, float(unrolled.losses.mean()), first=state.updates))
        if self.state.is_best:
            self._write_best()
        self.state.save(self.folder, self.signature)
        self._report()
        if not torch.isfinite(unrolled.losses[-1]):
            raise DivergedError(
                f"the loss of {self.folder} is not finite after {self.state.updates:,} updates: lower the learning "
                "rate",
                setting="learning_rate",
            )

    def _figures(self, state: TrainingState, loss: float, first: int) -> EpochFigures:
        """Return the figures of an epoch that began with update `first`."""
        # Only a fixed part of train, as large as dev: all of it would cost a fifth of an epoch.
        part = slice(len(self.data.dev.labels))
        train_accuracy, dev_accuracy = (
            self.course.task.value(self.course.student, state.params, state.buffers, split.at(part))
            for split in (self.data.train, self.data.dev)
        )
        return EpochFigures(
            epoch=len(state.curve) + 1,
            updates=state.updates,
            train_loss=loss,
            train_accuracy=train_accuracy,
            dev_accuracy=dev_accuracy,
            learning_rate=self.settings.student.rate(first, self.course.updates),
        )

    def _report(self) -> None:
        row, name = self.state.curve[-1], self.course.task.value_name
        logger.info(
            f"epoch {row.epoch}: loss {row.train_loss:.4f}, train {name} {row.train_accuracy:.2%}, dev {name} "
            f"{row.dev_accuracy:.2%} (best {self.state.best_accuracy:.2%}), rate {row.learning_rate:g}, "
            f"{self.state.elapsed_s:.0f} s"
        )

    def _record(self) -> RunRecord:
        course, teacher = self.course, self.settings.teacher
        params, buffers = self._read_best()
        lost = course.task.lost(course.student, params, buffers, self.data.test)
        path = None if teacher is None else coefficient_path(course, self.guidance, self.data, phi_start_of(teacher))
        if path is not None:
            write_coefficients(self.folder / PATH_NAME, path)
        return RunRecord(
            signature=self.signature,
            data=self.data.name,
            model=self.settings.student.model,
            loss=self.settings.loss,
            teacher=None if teacher is None else teacher.header.signature,
            taught_on=None if teacher is None else model_of(teacher),
            seed=self.seed,
            learning_rate=self.settings.student.learning_rate,
            epochs=len(self.state.curve),
            parameters=sum(course.student.sizes),
            curve=tuple(self.state.curve),
            best_epoch=self.state.best_epoch,
            dev_error=100.0 * (1.0 - self.state.best_accuracy),
            test_error=100.0 * float(lost.double().sum()) / len(lost),
            test_images=len(self.data.test.labels),
            test_wrong=course.task.wrong(lost),
            elapsed_s=self.state.elapsed_s,
            version=fairseq_dlf.__version__,
            measure=course.task.value_name,
        )

    # The folder -------------------------------------------------------------------

    def _write_best(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        student = self.course.student
        student.load_flat_params(self.state.params)
        student.load_buffers(self.state.buffers)
        write_student(self.folder / BEST_NAME, student.module, self.settings.student.model)

    def _read_best(self) -> tuple[Tensor, dict[str, Tensor]]:
        student = self.course.student
        try:
            read_student(self.folder / BEST_NAME).load_into(student.module)
        except UserError as error:
            text = f"the best student of {self.folder} cannot be read ({error}): delete {self.folder} to train again"
            raise InputError(text) from error
        return student.flat_params(), student.buffers()


def trainings(
    data: ImageData, settings: TrainingSettings, rates: Sequence[float]
) -> dict[float, Callable[[int, Path], Training]]:
    """Return what makes the training of a seed in a folder, by learning rate.

    Raises:
        InputError: a rate is not positive.
    """
    tried = {rate: replace(settings, student=replace(settings.student, learning_rate=rate)) for rate in rates}
    return {rate: partial(Training, data, chosen) for rate, chosen in tried.items()}
