"""Teaching on images: lessons with fresh students, and the choice of the teacher by dev accuracy of fresh students."""

import logging
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

import fairseq_dlf
from fairseq_dlf.core.hypergradient.episode import EpisodePlan, Measure
from fairseq_dlf.core.hypergradient.graph import graph_bytes
from fairseq_dlf.core.hypergradient.student import Buffers, Point, Student
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan, record_bytes
from fairseq_dlf.core.hypergradient.unroll import Watch, unroll
from fairseq_dlf.core.support.byte_sizes import human_size, size_in_bytes
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.seeds import mixed_seed
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.core.teaching.estimators import ESTIMATORS, Estimator, takes_products
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.lesson import Lesson
from fairseq_dlf.core.teaching.loop.steps import TeachingPlan, Validation
from fairseq_dlf.core.teaching.loop.teaching import Teaching
from fairseq_dlf.core.teaching.teacher_file import TeacherHeader
from fairseq_dlf.core.teaching.teachers import TEACHERS, Teacher, untaught_teacher
from fairseq_dlf.images.bar import EpisodeBar
from fairseq_dlf.images.data.splits import ImageData, ImageSet
from fairseq_dlf.images.losses import make_loss
from fairseq_dlf.images.measures import MEASURES
from fairseq_dlf.images.records.coefficients import PATH_NAME, write_coefficients
from fairseq_dlf.images.students.files import StudentFile
from fairseq_dlf.images.students.lesson import ImageCourse, ImageLesson, coefficient_path
from fairseq_dlf.images.students.models import parameter_count
from fairseq_dlf.images.students.settings import StudentSettings
from fairseq_dlf.images.teachers.files import header_of
from fairseq_dlf.images.teachers.settings import TeachingSettings

logger = logging.getLogger(__name__)

# Salts keep the students of lessons, those of validation and other draws apart.
LESSON_SALT, VALIDATION_SALT, TEACHER_SALT, MEASURE_SALT = 1, 2, 3, 4


def teaching_of(
    data: ImageData,
    student: StudentSettings,
    settings: TeachingSettings,
    folder: Path,
    warm: StudentFile | None = None,
    estimator: Estimator | None = None,
) -> Teaching:
    """Return the teaching that the settings describe; `run` starts it.

    Args:
        data: images, on the device of the run.
        student: how the students of lessons are trained.
        settings: how the teacher learns.
        folder: where teacher, log and state are written.
        warm: a student that every lesson starts from; None starts from fresh weights (the paper).
        estimator: replaces the estimator that `settings` name.

    Raises:
        InputError: settings contradict one another.
    """
    school = ImageSchool(data, student, settings, warm)
    estimator = estimator or school.estimator()
    logger.info(f"lessons of {school.plan.steps:,} updates; {school.kept}")
    plan = TeachingPlan(
        settings.teacher_steps,
        settings.teacher_lr,
        settings.validate_every,
        settings.collapse_share,
        settings.bounds(data.classes),
    )
    return Teaching(school, school.untaught(), estimator, plan, school.signature(estimator), folder)


class ImageSchool:
    """Lessons and validation on images; a `School` of the core.

    Args:
        data, student, settings, warm: as for `teaching_of`.
    """

    def __init__(
        self, data: ImageData, student: StudentSettings, settings: TeachingSettings, warm: StudentFile | None = None
    ):
        self.data = data
        self.student = student
        self.settings = settings
        self.warm = warm
        self.form = FORMS.make(settings.form)
        self.statistics = TEACHERS[settings.chosen_teacher.name].statistics
        self.task = settings.chosen_task
        self.measure_name, self.value_name = self.task.measure_name, f"dev {self.task.value_name}"
        self.features = self.task.features(self.statistics, data.classes, self.form)
        options = {"ce_share": settings.ce_share} if self.task.has_forms else {}
        self.loss = make_loss(self.task.adapted, options, self.task.losses)
        self._record_bytes = record_bytes(student.rule, parameter_count(student.model, data.shape, data.classes))
        self.measured, self.held_out = self._parts_of_dev()
        if settings.measure_images > len(self.measured.labels):
            raise InputError(
                f"measure_images is {settings.measure_images:,}, but the measure has {len(self.measured.labels):,} dev "
                "images: give fewer, or 0 for all",
                setting="measure_images",
            )

    def untaught(self) -> Teacher:
        """Return the teacher before its first step."""
        settings, (kind, options) = self.settings, self.settings.chosen_teacher
        start = self.task.start(self.form, settings.phi_start, self.data.classes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mixed_seed(settings.seed, TEACHER_SALT))
            teacher = untaught_teacher(kind, start, len(self.features), options)
        bounds = settings.bounds(self.data.classes)
        if bounds is not None:
            teacher.bound(*bounds)
        return teacher.to(self.data.train.images.device)

    @cached_property
    def plan(self) -> EpisodePlan:
        """Horizon and memory of a lesson's episode: `plan_of` all its updates."""
        return self.plan_of(self.updates)

    @property
    def updates(self) -> int:
        """T, the updates of a student's run."""
        return self.student.updates(len(self.data.train.labels) // self.student.batch_size)

    def plan_of(self, updates: int) -> EpisodePlan:
        """Return horizon and memory of so many updates.

        Cost: a training step and its graph, if all states leave memory for graphs.
        """
        settings = self.settings
        memory = size_in_bytes(settings.trajectory_memory)
        plan = EpisodePlan(
            updates,
            settings.truncate,
            trajectory=TrajectoryPlan.within(memory, self._record_bytes),
            cotangent_clip=settings.clip_cotangent,
            collapse_share=settings.collapse_share,
            growth_limit=settings.growth_limit,
        )
        if not takes_products(ESTIMATORS.make(settings.estimator, plan=plan)):
            return plan
        horizon = plan.steps - plan.first
        trajectory = plan.trajectory.with_graphs(memory, self._record_bytes, horizon, self._graph_bytes)
        return replace(plan, trajectory=trajectory)

    @property
    def kept(self) -> str:
        """What of an episode's past is kept, and how large it is, in words."""
        plan = self.plan
        return plan.trajectory.describe(plan.first, plan.steps, self._record_bytes)

    def estimator(self) -> Estimator:
        """Return the estimator that the settings name, with their horizon and memory."""
        return ESTIMATORS.make(self.settings.estimator, plan=self.plan)

    def signature(self, estimator: Estimator) -> Signature:
        """Return everything except the number of steps that changes the teacher."""
        return Signature.of(
            "dlf-images-teach",
            {"start": "fresh" if self.warm is None else f"warm-{self.warm.digest}"},
            self.student.signature,
            self.student.progress_signature,
            estimator.signature,
            self.settings.signature,
            {**self.data.signature, "version": fairseq_dlf.__version__},
        )

    # What the loop calls -----------------------------------------------------------------

    def lesson(self, step: int) -> ImageLesson:
        seed = mixed_seed(self.settings.seed, LESSON_SALT, step)
        return ImageLesson(
            *(self.data, self.student, self.loss, seed, self._measure, self._drawn(seed)),
            warm=self.warm,
            form=self.form,
            statistics=self.statistics,
            task=self.task,
        )

    def validate(self, teacher: Teacher) -> Validation:
        """Return the mean dev accuracy of students that are the same for every θ, and Φ along the first one's run."""
        values, path = [], None
        for place in range(self.settings.validation_students):
            course = self._course(mixed_seed(self.settings.seed, VALIDATION_SALT, place))
            guidance = Guidance(course, teacher, len(self.features))
            with EpisodeBar("validating", course.updates) as bar:
                done = unroll(
                    course.student,
                    course.rule,
                    guidance.source,
                    course.start,
                    course.updates,
                    watch=bar,
                    observe=guidance.observe,
                )
            values.append(self.value(course.student, done.final.params, done.buffers))
            path = path or coefficient_path(course, guidance, self.data, self.settings.phi_start)

        def keep(folder: Path) -> None:
            if path is not None:
                write_coefficients(folder / PATH_NAME, path)

        return Validation(sum(values) / len(values), keep)

    def value(self, student: Student, params: Tensor, buffers: Buffers) -> float:
        """Return how good a student is on the dev images that choose the best one."""
        return self.task.value(student, params, buffers, self.held_out)

    def header(self, signature: str) -> TeacherHeader:
        settings = self.settings
        kind = settings.chosen_teacher.name
        told = self.student.model, kind, self.form.spec, settings.ce_share, signature
        return header_of(self.data, *told, self.task, settings.phi_start)

    def watch(self, label: str, lesson: Lesson) -> AbstractContextManager[Watch]:
        first = lesson.updates - self.settings.truncate if self.settings.truncate else 0
        return EpisodeBar(label, lesson.updates, first)

    # Parts ---------------------------------------------------------------------------------

    def _graph_bytes(self) -> int:
        """Return the size of the graph of one step; all batches are of one size."""
        course = self._course(mixed_seed(self.settings.seed, LESSON_SALT))
        params, first = course.start.params, course.step(0)
        neutral = course.form.neutral(self.data.classes).to(params)
        point = Point(params, neutral, first.batch, first.seed)
        found = graph_bytes(course.student, point, course.rule.reads_gradient)
        logger.info(f"the graph of a step takes {human_size(found)}")
        return found

    def _course(self, seed: int) -> ImageCourse:
        run = self.data, self.student, self.loss, seed, self.warm
        return ImageCourse(*run, exact=True, form=self.form, statistics=self.statistics, task=self.task)

    def _measure(self, student: Student, dev: ImageSet) -> Measure:
        own, (name, options) = self.task.measure(student, dev), self.settings.chosen_measure
        return MEASURES.maker(name)(student, dev, **options) if own is None else own

    def _parts_of_dev(self) -> tuple[ImageSet, ImageSet]:
        """Return the images of M̃, and those that choose the best θ."""
        dev, share = self.data.dev, self.settings.measure_share
        if share == 1.0:
            return dev, dev
        count = round(share * len(dev.labels))
        if not 0 < count < len(dev.labels):
            raise InputError(
                f"measure_share {share:g} leaves {count} of {len(dev.labels)} dev images to the measure: both it "
                "and the choice of the best teacher need some",
                setting="measure_share",
            )
        return dev.at(slice(count)), dev.at(slice(count, None))

    def _drawn(self, seed: int) -> ImageSet:
        """Return the images of one lesson's measure."""
        dev, count = self.measured, self.settings.measure_images
        if not 0 < count < len(dev.labels):
            return dev
        generator = torch.Generator().manual_seed(mixed_seed(seed, MEASURE_SALT))
        chosen = torch.randperm(len(dev.labels), generator=generator)[:count].to(dev.labels.device)
        return dev.at(chosen)
