"""Learning θ: episodes of fresh students, Adam, and the best teacher by a fresh student's dev accuracy."""

import dataclasses
import logging
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fairseq_dlf
from fairseq_dlf.core.hypergradient.episode import EpisodePlan, EpisodeResult, run_episode
from fairseq_dlf.core.hypergradient.student import joined
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan, record_bytes
from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.support.byte_sizes import size_in_bytes
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.run_folder import load_state, save_state
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.core.teaching.teachers.attention import Teacher
from fairseq_dlf.images.bar import EpisodeBar
from fairseq_dlf.images.data.splits import ImageData, ImageSet
from fairseq_dlf.images.losses.registry import make_loss
from fairseq_dlf.images.records.coefficients import PATH_NAME, write_coefficients
from fairseq_dlf.images.records.teaching import LOG_NAME, TeacherStep, append_step, read_steps
from fairseq_dlf.images.students.accuracy import ExpectedAccuracy, accuracy
from fairseq_dlf.images.students.files import StudentFile
from fairseq_dlf.images.students.lesson import StudentRun, coefficient_path
from fairseq_dlf.images.students.progress import features
from fairseq_dlf.images.students.settings import StudentSettings
from fairseq_dlf.images.teachers.files import TeacherHeader, write_teacher
from fairseq_dlf.images.teachers.settings import TeachingSettings

logger = logging.getLogger(__name__)

MAX_COLLAPSES = 3
# Salts keep the students of episodes, those of validation and other draws apart.
EPISODE_SALT, VALIDATION_SALT, TEACHER_SALT, MEASURE_SALT = 1, 2, 3, 4
BEST_NAME, LAST_NAME = "teacher.safetensors", "teacher_last.safetensors"


class Teaching:
    """Teaches a teacher, step by step, in a folder where it can be resumed bit for bit.

    Args:
        data: images, on the device of the run.
        student: how the students of episodes are trained.
        settings: how the teacher learns.
        folder: where teacher, log and state go.
        warm: a student that every episode starts from; None is fresh weights (paper).

    Raises:
        ValueError: the folder holds another run, or settings contradict one another.
    """

    def __init__(
        self,
        data: ImageData,
        student: StudentSettings,
        settings: TeachingSettings,
        folder: Path,
        warm: StudentFile | None = None,
    ):
        self.data = data
        self.student = student
        self.settings = settings
        self.folder = folder
        self.warm = warm
        self.loss = make_loss("dlf", {"ce_share": settings.ce_share})
        self.device = data.train.images.device
        self.teacher = self._untaught()
        self.optimizer = torch.optim.Adam(self.teacher.parameters(), lr=settings.teacher_rate)
        self.bounds = settings.bounds(data.classes)
        self.done = -1  # -1: not even the untaught teacher is validated
        self.best_step, self.best_accuracy, self.best_measure = 0, 0.0, 0.0
        self.collapses_in_a_row = 0
        self.measured, self.held_out = self._parts_of_dev()
        self.plan = self._plan()
        self._restore()

    def _untaught(self) -> Teacher:
        initial = self.settings.phi_start * torch.eye(self.data.classes).flatten()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mixed_seed(self.settings.seed, TEACHER_SALT))
            teacher = Teacher.untaught(
                initial, len(features(self.data.classes)), self.settings.keys, self.settings.key_scale
            )
        return teacher.to(self.device)

    def _plan(self) -> EpisodePlan:
        run = self._run(seed=0)
        size = record_bytes(self.student.rule, sum(run.student.sizes))
        try:
            trajectory = TrajectoryPlan.within(size_in_bytes(self.settings.trajectory_memory), size)
        except InputError as error:
            raise InputError(error.with_option({"trajectory_memory": "--trajectory-memory"}), error.setting) from error
        plan = EpisodePlan(
            run.updates,
            self.settings.truncation,
            trajectory=trajectory,
            cotangent_clip=self.settings.cotangent_clip,
            collapse_share=self.settings.collapse_share,
            growth_limit=self.settings.growth_limit,
        )
        logger.info(f"episodes of {plan.steps:,} updates; {trajectory.describe(plan.first, plan.steps, size)}")
        return plan

    @property
    def signature(self) -> str:
        """All that changes the teacher, but for the number of its steps."""
        start = f"warm:{self.warm.digest}" if self.warm is not None else "fresh"
        student = f"student:{self.student.model}:{start}|{self.student.signature}:points{self.student.progress_points}"
        student += f"x{self.student.progress_images}"
        data = f"data:{self.data.name}:{self.data.fingerprint}:{len(self.data.train.labels)}"
        return f"dlf-images|{student}|{self.settings.signature}|{data}|v{fairseq_dlf.__version__}"

    def run(self) -> None:
        """Teaches until `teacher_steps` are done, from where the folder's state is.

        Raises:
            RuntimeError: three episodes in a row collapsed.
        """
        logger.info(f"teaching: {self.signature}")
        if self.done >= self.settings.teacher_steps:
            logger.info(f"{self.folder} has {self.done} teacher steps already; raise --teacher-steps to go on")
        while self.done < self.settings.teacher_steps:
            self._step(self.done + 1)
        if self.best_step == 0:
            logger.warning(
                "no validated teacher was better than the untaught one, which is what "
                f"{self.folder / BEST_NAME} holds; the last one is in {LAST_NAME}"
            )
        logger.info(f"best dev accuracy {self.best_accuracy:.2%}, after {self.best_step} teacher steps")

    def _step(self, step: int) -> None:
        """Step 0 validates the untaught teacher; every other is an episode."""
        began = time.perf_counter()
        figures = self._episode(step) if step else {}
        last = step == self.settings.teacher_steps
        if step % self.settings.validate_every == 0 or last:
            figures["dev_accuracy"] = self._validate(step)
        self.done = step
        self._report(step, figures, time.perf_counter() - began)
        self._save()
        if self.collapses_in_a_row >= MAX_COLLAPSES:
            raise RuntimeError(
                f"{MAX_COLLAPSES} episodes in a row collapsed. Lower --teacher-lr or --lr, bound Φ "
                "(--phi-off-diagonal 0,1), raise --ce-share, set --clip-cotangent or --truncate; the best teacher "
                f"so far is in {self.folder / BEST_NAME}"
            )

    # An episode -------------------------------------------------------------------

    def _run(self, seed: int) -> StudentRun:
        run = StudentRun(self.data, self.student, self.loss, self.teacher, seed, exact=True)
        if self.warm is not None:
            self.warm.load_into(run.student.module)
        return run

    def _episode(self, step: int) -> dict[str, Any]:
        seed = mixed_seed(self.settings.seed, EPISODE_SALT, step)
        run = self._run(seed)
        start = self.student.rule.initial(run.student.flat_params())
        measure = ExpectedAccuracy(run.student, self._measured(seed), self.settings.sharpness)
        # A fresh student's start says nothing of where it should end; the best end so far does.
        plan = dataclasses.replace(self.plan, collapse_floor=self.settings.collapse_share * self.best_measure)
        with EpisodeBar(f"teacher step {step}/{self.settings.teacher_steps}", run.updates, self.plan.first) as bar:
            result = run_episode(
                run.student, self.student.rule, run.source, start, measure, plan, watch=bar, observe=run.observe
            )
        figures = {
            "measure_before": result.measure_before,
            "measure_after": result.measure_after,
            "student_loss": float(result.losses.mean()),
            "collapsed": result.collapse is not None,
        }
        if result.collapse is not None:
            logger.warning(f"episode {step} collapsed, the teacher does not learn from it: {result.collapse}")
            self.collapses_in_a_row += 1
            return figures
        self.collapses_in_a_row = 0
        self.best_measure = max(self.best_measure, result.measure_after)
        return figures | self._learn(run.progress, result)

    def _learn(self, progress: Tensor, result: EpisodeResult) -> dict[str, float]:
        """One update of θ: ∂M̃/∂θ is the gradient of Σ_t ⟨Φ_t(θ), dΦ_t⟩ (paper, Algorithm 1)."""
        found = result.hypergradient
        assert found is not None
        before, parameters = _flat(self.teacher), list(self.teacher.parameters())
        gradients = torch.autograd.grad((self.teacher(progress) * found.coefficients).sum(), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = -gradient  # Adam goes down
        self.optimizer.step()
        if self.bounds is not None:
            self.teacher.bound(*(bound.to(self.device) for bound in self.bounds))
        return {
            "gradient_norm": float(joined(gradients).norm()),
            "dtheta_norm": float((_flat(self.teacher) - before).norm()),
            "dphi_norm": float(found.coefficients.norm()),
            "leverage": found.leverage,
            "cotangent_growth": found.growth,
        }

    def _parts_of_dev(self) -> tuple[ImageSet, ImageSet]:
        """The images of M̃, and those that choose θ."""
        dev, share = self.data.dev, self.settings.measure_share
        if share == 1.0:
            return dev, dev
        count = round(share * len(dev.labels))
        if not 0 < count < len(dev.labels):
            raise ValueError(
                f"--measure-share {share:g} leaves {count} of {len(dev.labels)} dev images to the measure: both it "
                "and the choice of the best teacher need some"
            )
        return dev.at(slice(count)), dev.at(slice(count, None))

    def _measured(self, seed: int) -> ImageSet:
        dev, count = self.measured, self.settings.measure_images
        if not 0 < count < len(dev.labels):
            return dev
        generator = torch.Generator().manual_seed(mixed_seed(seed, MEASURE_SALT))
        chosen = torch.randperm(len(dev.labels), generator=generator)[:count].to(self.device)
        return dev.at(chosen)

    # Validation -------------------------------------------------------------------

    def _validate(self, step: int) -> float:
        """Mean dev accuracy of students that are the same for every θ; keeps the best θ."""
        found, path = [], None
        for place in range(self.settings.validation_students):
            run = self._run(mixed_seed(self.settings.seed, VALIDATION_SALT, place))
            start = self.student.rule.initial(run.student.flat_params())
            with EpisodeBar(f"validating step {step}", run.updates) as bar:
                done = unroll(
                    run.student, self.student.rule, run.source, start, run.updates, watch=bar, observe=run.observe
                )
            found.append(accuracy(run.student, done.final.params, done.buffers, self.held_out))
            path = path or coefficient_path(run, self.data)
        value = sum(found) / len(found)
        header = self._header(step)
        write_teacher(self.folder / LAST_NAME, self.teacher, header)
        if step == 0 or value > self.best_accuracy:
            self.best_step, self.best_accuracy = step, value
            write_teacher(self.folder / BEST_NAME, self.teacher, header)
            assert path is not None
            write_coefficients(self.folder / PATH_NAME, path)
        return value

    def _header(self, step: int) -> TeacherHeader:
        return TeacherHeader(
            class_names=self.data.class_names,
            features=tuple(features(self.data.classes)),
            data=self.data.name,
            model=self.student.model,
            ce_share=self.settings.ce_share,
            signature=f"{self.signature}|step:{step}",
        )

    # The folder -------------------------------------------------------------------

    def _report(self, step: int, figures: dict[str, Any], elapsed_s: float) -> None:
        row = TeacherStep(step=step, elapsed_s=elapsed_s, **{**NO_EPISODE, **figures})
        append_step(self.folder / LOG_NAME, row)
        parts = [f"step {step}/{self.settings.teacher_steps}"]
        if step:
            parts += [
                f"expected dev accuracy {row.measure_before:.4f} → {row.measure_after:.4f}",
                f"|dθ| {row.dtheta_norm:.2g}",
                f"|dΦ| {row.dphi_norm:.2g}",
                f"leverage {row.leverage:.3g}",
                f"growth {row.cotangent_growth:.2g}",
            ]
        if row.dev_accuracy is not None:
            parts.append(f"validated dev accuracy {row.dev_accuracy:.2%} (best {self.best_accuracy:.2%})")
        logger.info(f"{', '.join(parts)}, {elapsed_s:.1f} s")

    def _save(self) -> None:
        state = {
            "done": self.done,
            "teacher": self.teacher.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_step": self.best_step,
            "best_accuracy": self.best_accuracy,
            "best_measure": self.best_measure,
            "collapses_in_a_row": self.collapses_in_a_row,
        }
        save_state(self.folder, self.signature, state)

    def _restore(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        state = load_state(self.folder, self.signature)
        log = self.folder / LOG_NAME
        if state is None:
            log.unlink(missing_ok=True)
            return
        self.done, self.best_step = state["done"], state["best_step"]
        self.best_accuracy, self.best_measure = state["best_accuracy"], state["best_measure"]
        # A run that stopped for its collapses is resumed by somebody who has seen them.
        self.collapses_in_a_row = state["collapses_in_a_row"] % MAX_COLLAPSES
        self.teacher.load_state_dict(state["teacher"])
        self.optimizer.load_state_dict(state["optimizer"])
        # Rows of steps that were not saved any more come again.
        rows = [row for row in read_steps(log) if row.step <= self.done]
        log.unlink()
        for row in rows:
            append_step(log, row)
        logger.info(f"going on in {self.folder} after {self.done} teacher steps")


# What a line of the log says where there was no (good) episode.
NO_EPISODE: dict[str, Any] = {
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


def _flat(teacher: Teacher) -> Tensor:
    return joined([parameter.detach() for parameter in teacher.parameters()])
