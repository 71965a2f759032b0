"""Training students: epoch by epoch, the best by dev, test read once at the end."""

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import torch
from torch import Tensor

import fairseq_dlf
from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.hypergradient.update_rules import StudentState
from fairseq_dlf.core.support.errors import InputError, StateError, UserError
from fairseq_dlf.core.support.replacement import replacing_folder
from fairseq_dlf.core.support.run_folder import STATE_NAME, read_state, save_state
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.core.teaching.forms import FORMS, Form, Matrix
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.teacher_file import TeacherFile
from fairseq_dlf.core.teaching.teachers import StaticTeacher, Teacher
from fairseq_dlf.images.bar import EpisodeBar
from fairseq_dlf.images.data.splits import ImageData, ImageSet
from fairseq_dlf.images.losses.registry import LOSSES, make_loss
from fairseq_dlf.images.records.coefficients import PATH_NAME, write_coefficients
from fairseq_dlf.images.records.training import RECORD_NAME, EpochFigures, RunRecord, read_record, write_record
from fairseq_dlf.images.students.accuracy import accuracy, predictions
from fairseq_dlf.images.students.files import StudentFile, read_student, write_student
from fairseq_dlf.images.students.lesson import ImageCourse, coefficient_path
from fairseq_dlf.images.students.progress import features
from fairseq_dlf.images.students.settings import StudentSettings
from fairseq_dlf.images.teachers.files import model_of

logger = logging.getLogger(__name__)

BEST_NAME, RATES_NAME = "best.safetensors", "rates"


@dataclass(frozen=True)
class TrainingSettings:
    """What a student is trained with.

    Attributes:
        student: rates, batches, length.
        loss: name of a loss family.
        loss_options: its options.
        teacher: the teacher of a loss that needs one.
        warm: a student that training starts from; None is fresh weights.
    """

    student: StudentSettings
    loss: str
    loss_options: Mapping[str, float] = field(default_factory=dict)
    teacher: TeacherFile | None = None
    warm: StudentFile | None = None

    @property
    def form(self) -> Form:
        """The form of Φ: the teacher's, else the paper's matrix."""
        return Matrix() if self.teacher is None else FORMS.make(self.teacher.header.form)

    def __post_init__(self) -> None:
        make_loss(self.loss, self.loss_options)
        needs_teacher = LOSSES[self.loss].needs_teacher
        if needs_teacher and self.teacher is None:
            raise InputError(
                f"the loss {self.loss} takes its coefficients from a teacher: pass a teacher's file", setting="teacher"
            )
        if not needs_teacher and self.teacher is not None:
            raise InputError(
                f"the loss {self.loss} takes no teacher: leave the teacher out, or take the loss dlf", setting="teacher"
            )

    def signature(self, data: ImageData, seed: int) -> Signature:
        """All that changes the student."""
        taught = {} if self.teacher is None else {"teacher": self.teacher.digest, **self.student.progress_signature}
        return Signature.of(
            "dlf-images-train",
            {"start": "fresh" if self.warm is None else f"warm-{self.warm.digest}"},
            {"loss": self.loss, "loss_options": dict(sorted(self.loss_options.items()))},
            self.student.signature,
            taught,
            {**data.signature, "seed": seed, "version": fairseq_dlf.__version__},
        )


def train_seeds(
    data: ImageData, settings: TrainingSettings, rates: Sequence[float], seeds: Sequence[int], out: Path
) -> list[RunRecord]:
    """Train a student for every seed, at the rate that is best by dev.

    With several rates, the first seed is trained at each, in `out`/rates, without reading
    test; the one with the greatest dev accuracy is taken for all seeds.
    """
    rate = rates[0] if len(rates) == 1 else _best_rate(data, settings, rates, seeds[0], out)
    chosen = replace(settings, student=replace(settings.student, learning_rate=rate))
    records = []
    for seed in seeds:
        folder = out / f"seed{seed}"
        if len(rates) > 1 and seed == seeds[0] and not folder.exists():
            _copy(out / RATES_NAME / f"{rate:g}", folder)
        records.append(Training(data, chosen, seed, folder).finish())
    return records


def _best_rate(data: ImageData, settings: TrainingSettings, rates: Sequence[float], seed: int, out: Path) -> float:
    found = {}
    # All at once, so that a wrong one is noticed before the others are trained.
    tried = {rate: replace(settings, student=replace(settings.student, learning_rate=rate)) for rate in rates}
    for rate in rates:
        training = Training(data, tried[rate], seed, out / RATES_NAME / f"{rate:g}")
        try:
            training.run()
        except DivergedError as error:
            logger.warning(str(error))
        found[rate] = training.best_accuracy
    best = max(rates, key=lambda rate: found[rate])
    listed = ", ".join(f"{rate:g}: {100 * (1 - value):.2f} %" for rate, value in found.items())
    logger.info(f"dev error by rate, seed {seed}: {listed}; taking {best:g}")
    if best in (min(rates), max(rates)) and len(rates) > 2:
        logger.warning(f"the best rate {best:g} is at the edge of those tried: a further one may be better")
    return best


def _copy(source: Path, target: Path) -> None:
    """Copy a folder; a failure leaves nothing under the target's name."""
    with replacing_folder(target) as partial:
        shutil.copytree(source, partial, dirs_exist_ok=True)


class DivergedError(StateError):
    """The student's loss is not finite any more."""


@dataclass(frozen=True)
class _SavedTraining:
    """What the state of a run in its folder holds.

    Attributes:
        params: ω, (parameters,).
        slots: of the update rule, (parameters,) each.
        buffers: of the module, by name.
        progress: s_t of the updates, as in `Guidance`.
        updates: updates done.
        curve: a row for each epoch.
        best_accuracy, best_epoch: by dev; -1 and 0 before the first epoch.
        elapsed_s: seconds of the updates.
    """

    params: Tensor
    slots: list[Tensor]
    buffers: dict[str, Tensor]
    progress: Tensor
    updates: int
    curve: list[EpochFigures]
    best_accuracy: float
    best_epoch: int
    elapsed_s: float


class Training:
    """One student's training in a folder, where it can be resumed bit for bit.

    Args:
        data: images, on the device of the run.
        settings: how it is trained.
        seed: of weights, batches and augmentation.
        folder: where state, best student and record go.

    Raises:
        InputError: the folder holds another run, or a damaged state.
    """

    def __init__(self, data: ImageData, settings: TrainingSettings, seed: int, folder: Path):
        self.data = data
        self.settings = settings
        self.seed = seed
        self.folder = folder
        self.signature = str(settings.signature(data, seed))
        self.course, self.guidance = self._guided_course()
        self.state: StudentState = self.course.start
        self.buffers = self.course.student.buffers()
        self.curve: list[EpochFigures] = []
        self.updates = 0
        self.best_accuracy, self.best_epoch = -1.0, 0
        self.elapsed_s = 0.0
        self._restore()

    def _guided_course(self) -> tuple[ImageCourse, Guidance]:
        """The student's run, and its coefficients: the teacher's, or neutral ones where none is needed."""
        settings, data = self.settings, self.data
        loss = make_loss(settings.loss, settings.loss_options)
        head_bias, form = LOSSES[settings.loss].head_bias, settings.form
        course = ImageCourse(data, settings.student, loss, self.seed, settings.warm, head_bias=head_bias, form=form)
        if settings.teacher is None:
            teacher: Teacher = StaticTeacher(form.neutral(data.classes))
        else:
            teacher = settings.teacher.teacher
        seen = len(features(data.classes)) if teacher.reads_progress else 1
        return course, Guidance(course, teacher.to(data.train.images.device), seen)

    def run(self) -> None:
        """Train to the end, from where the folder's state is; reads no test images.

        Raises:
            DivergedError: the loss is not finite after an epoch.
        """
        if self.updates < self.course.updates:
            logger.info(f"training: {self.signature}")
        while self.updates < self.course.updates:
            self._epoch()

    def finish(self) -> RunRecord:
        """Train to the end, read test once with the best student, and write the record."""
        path = self.folder / RECORD_NAME
        if path.exists():
            logger.info(f"{path} is there already")
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
        began = time.perf_counter()
        course, total = self.course, self.course.updates
        number = len(self.curve) + 1
        steps = min(course.batches.steps_per_epoch, total - self.updates)
        rate = self.settings.student.rate(self.updates, total)
        with EpisodeBar(f"epoch {number}", total, done=self.updates) as bar:
            done = unroll(
                course.student,
                course.rule,
                self.guidance.source,
                self.state,
                steps,
                watch=bar,
                observe=self.guidance.observe,
                buffers=self.buffers,
                first=self.updates,
            )
        self.state, self.buffers = done.final, dict(done.buffers)
        self.updates += steps
        self.elapsed_s += time.perf_counter() - began
        figures = EpochFigures(
            epoch=number,
            updates=self.updates,
            train_loss=float(done.losses.mean()),
            train_accuracy=self._accuracy("train"),
            dev_accuracy=self._accuracy("dev"),
            learning_rate=rate,
        )
        self.curve.append(figures)
        if figures.dev_accuracy > self.best_accuracy:
            self.best_accuracy, self.best_epoch = figures.dev_accuracy, number
            self._write_best()
        self._save()
        logger.info(
            f"epoch {number}: loss {figures.train_loss:.4f}, train accuracy {figures.train_accuracy:.2%}, dev "
            f"accuracy {figures.dev_accuracy:.2%} (best {self.best_accuracy:.2%}), rate {rate:g}, "
            f"{self.elapsed_s:.0f} s"
        )
        if not torch.isfinite(done.losses[-1]):
            raise DivergedError(
                f"the loss of {self.folder} is not finite after {self.updates:,} updates: lower the learning rate",
                setting="learning_rate",
            )

    def _accuracy(self, split: str) -> float:
        # Of train a fixed part, as large as dev: all of it would cost a fifth of an epoch.
        images: ImageSet = getattr(self.data, split).at(slice(len(self.data.dev.labels)))
        return accuracy(self.course.student, self.state.params, self.buffers, images)

    def _record(self) -> RunRecord:
        course, teacher = self.course, self.settings.teacher
        params, buffers = self._read_best()
        predicted = predictions(course.student, params, buffers, self.data.test.images)
        wrong = (predicted != self.data.test.labels).nonzero().flatten().tolist()
        path = None if teacher is None else coefficient_path(course, self.guidance, self.data)
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
            epochs=len(self.curve),
            parameters=sum(course.student.sizes),
            curve=tuple(self.curve),
            best_epoch=self.best_epoch,
            dev_error=100.0 * (1.0 - self.best_accuracy),
            test_error=100.0 * len(wrong) / len(predicted),
            test_images=len(predicted),
            test_wrong=tuple(wrong),
            elapsed_s=self.elapsed_s,
            version=fairseq_dlf.__version__,
        )

    # The folder -------------------------------------------------------------------

    def _write_best(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        student = self.course.student
        student.load_flat_params(self.state.params)
        student.load_buffers(self.buffers)
        write_student(self.folder / BEST_NAME, student.module, self.settings.student.model)

    def _read_best(self) -> tuple[Tensor, dict[str, Tensor]]:
        student = self.course.student
        try:
            read_student(self.folder / BEST_NAME).load_into(student.module)
        except UserError as error:
            text = f"the best student of {self.folder} cannot be read ({error}): delete {self.folder} to train again"
            raise InputError(text) from error
        return student.flat_params(), student.buffers()

    def _save(self) -> None:
        saved = _SavedTraining(
            params=self.state.params,
            slots=list(self.state.slots),
            buffers=self.buffers,
            progress=self.guidance.progress,
            updates=self.updates,
            curve=self.curve,
            best_accuracy=self.best_accuracy,
            best_epoch=self.best_epoch,
            elapsed_s=self.elapsed_s,
        )
        state = {each.name: getattr(saved, each.name) for each in fields(saved)}
        save_state(self.folder, self.signature, state | {"curve": [asdict(row) for row in self.curve]})

    def _restore(self) -> None:
        saved = read_state(self.folder, self.signature, _SavedTraining)
        if saved is None:
            return
        self._require_fit(saved)
        device = self.state.params.device
        self.state = StudentState(saved.params.to(device), tuple(slot.to(device) for slot in saved.slots))
        self.buffers = {name: buffer.to(device) for name, buffer in saved.buffers.items()}
        self.guidance.restore(saved.progress, saved.updates)
        self.curve, self.updates, self.elapsed_s = saved.curve, saved.updates, saved.elapsed_s
        self.best_accuracy, self.best_epoch = saved.best_accuracy, saved.best_epoch
        logger.info(f"going on in {self.folder / STATE_NAME} after {len(self.curve)} epochs")

    def _require_fit(self, saved: _SavedTraining) -> None:
        """Raise InputError unless the state's tensors and numbers are those of this run."""
        run, rows = self.course, len(saved.curve)
        found = {"params": saved.params, "progress": saved.progress, **saved.buffers}
        found |= {f"slot {place}": slot for place, slot in enumerate(saved.slots)}
        wanted = {"params": self.state.params, "progress": self.guidance.progress, **self.buffers}
        wanted |= {f"slot {place}": slot for place, slot in enumerate(self.state.slots)}
        wrong = [name for name in {**wanted, **found} if _form(found.get(name)) != _form(wanted.get(name))]
        if saved.updates != min(rows * run.batches.steps_per_epoch, run.updates) or not 0 < saved.best_epoch <= rows:
            wrong.append("updates")
        if wrong:
            raise InputError(
                f"{self.folder / STATE_NAME} is damaged: {', '.join(wrong[:4])} do not fit this run; delete "
                f"{self.folder} to start that run again"
            )


def _form(tensor: Tensor | None) -> object:
    return None if tensor is None else (tensor.shape, tensor.dtype)
