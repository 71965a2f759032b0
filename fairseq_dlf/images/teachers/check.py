"""What a few short trainings tell of teaching on images before hours are spent on it."""

from collections.abc import Iterator

from torch import Tensor

from fairseq_dlf.core.hypergradient.guard import rounding_error
from fairseq_dlf.core.hypergradient.probe import require_second_derivatives
from fairseq_dlf.core.hypergradient.student import Buffers, Point, Student
from fairseq_dlf.core.support.durations import human_duration
from fairseq_dlf.core.teaching.estimators import takes_products
from fairseq_dlf.core.teaching.foresight import Cost, first_point
from fairseq_dlf.core.teaching.prospect import (
    SHARES,
    Prospect,
    Trial,
    constant_trials,
    derivative_lines,
    movement_lines,
    price_line,
    share_title,
)
from fairseq_dlf.images.bar import EpisodeBar
from fairseq_dlf.images.students.accuracy import accuracy
from fairseq_dlf.images.students.lesson import ImageLesson
from fairseq_dlf.images.teachers.school import ImageSchool
from fairseq_dlf.images.teachers.settings import CheckSettings, TeachingSettings

# Around 0, −σ(r) is −r / 4 but for a constant: rows of a small Φ are cross-entropy with soft targets.
SMALL = 0.2
# Relative errors of products: float32 has 1e-6, TF32 1e-3.
POOR = 1e-4
PRECISION_IMAGES = 16
SMOOTHER = "lower --lr or --phi-start, raise --ce-share, shorten --epochs or set --truncate"


def findings(school: ImageSchool, settings: CheckSettings) -> Iterator[str]:
    """Yield a line for each thing that is found of a school's first lesson, as soon as it is.

    Raises:
        StateError, InputError: students cannot be taught in this way.

    Cost: nine trainings of `settings.check_updates` updates; three fewer where the form of Φ has no uniform shares,
    two where it has no multiples.
    """
    prospect = _prospect(school, settings)
    lesson, start = prospect.lesson, prospect.start
    if prospect.products:
        require_second_derivatives(lesson.student, first_point(lesson, start))
    yield from derivative_lines(prospect)
    if prospect.products:
        yield _precision_line(lesson.student, first_point(lesson, start))
    cost = prospect.cost
    yield price_line(prospect, cost)
    if prospect.products:
        yield _whole_line(school.settings, prospect, cost)
    yield from movement_lines(prospect)


def _prospect(school: ImageSchool, settings: CheckSettings) -> Prospect:
    lesson, scale = school.lesson(1), school.settings.phi_start
    updates = settings.of(lesson.updates)

    def times_neutral(factor: float) -> Tensor:
        return lesson.form.start_times(factor, school.data.classes).to(lesson.start.params)

    def score(student: Student, params: Tensor, buffers: Buffers) -> float:
        return 100 * accuracy(student, params, buffers, school.held_out)

    return Prospect(
        lesson=lesson,
        start=times_neutral(scale),
        plan=school.plan,
        products=takes_products(school.estimator()),
        observed=school.untaught().reads_progress,
        kept=school.kept,
        constants=constant_trials(lesson, times_neutral, scale, lesson.form.starts_neutral),
        shares=_share_trials(lesson, school.data.classes, scale),
        score=score,
        score_name=f"accuracy (%) on {len(school.held_out.labels):,} dev images",
        smoother=SMOOTHER,
        updates=updates,
        watch=lambda label: EpisodeBar(label, updates),
    )


def _share_trials(lesson: ImageLesson, classes: int, start: float) -> list[Trial]:
    """Return trials of a uniform share in the run's own form of Φ, all at one scale; none if it has none.

    Args:
        start: the Φ where teaching starts, as a multiple of the neutral one.
    """
    scale = start if lesson.form.linear else min(start, SMALL)
    found = [(share, lesson.form.uniform_share(share, classes, scale)) for share in SHARES]
    return [
        Trial(share_title(share, scale), lesson, phi.to(lesson.start.params)) for share, phi in found if phi is not None
    ]


def _precision_line(student: Student, point: Point) -> str:
    """Say how precise second-order products are on a few images of a batch."""
    batch = point.batch._replace(
        images=point.batch.images[:PRECISION_IMAGES], labels=point.batch.labels[:PRECISION_IMAGES]
    )
    precise = Point(
        point.params.double().cpu(),
        point.coefficients.double().cpu(),
        batch._replace(images=batch.images.double().cpu(), labels=batch.labels.cpu()),
        point.seed,
    )
    error = rounding_error(student, point._replace(batch=batch), precise)
    advice = "" if error <= POOR else ": poor: compute in full float32, without TF32, or bring --phi-start nearer to 1"
    return f"precision: second-order products are off by {error:.0e} of their size{advice}"


def _whole_line(settings: TeachingSettings, prospect: Prospect, cost: Cost) -> str:
    """Say how long `teach` will take in all."""
    validations = 1 + -(-settings.teacher_steps // settings.validate_every)
    forward = prospect.forward_s(cost)
    episodes = settings.teacher_steps * (forward + cost.back_s(prospect.plan))
    total = human_duration(episodes + validations * settings.validation_students * forward)
    return f"all of `teach`, {settings.teacher_steps:,} episodes and {validations:,} validations: about {total}"
