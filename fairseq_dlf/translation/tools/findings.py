"""What a few short trainings find out of teaching a student: derivatives, smoothness, price, how far losses move it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fairseq.data import Dictionary
from torch import Tensor

import fairseq_dlf.translation.plugins  # noqa: F401
from fairseq_dlf.core.teaching.estimators import takes_products
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.loss import DynamicLoss
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
from fairseq_dlf.translation.bleu.type_facts import type_facts
from fairseq_dlf.translation.episodes.checkpoints import translation_objective
from fairseq_dlf.translation.episodes.lesson import TranslationLesson
from fairseq_dlf.translation.episodes.lessons import Lessons
from fairseq_dlf.translation.tools.teaching_task import TeachingTask, teaching_task

SMOOTHER = "lower --student-lr, shorten --student-steps, set --truncate, or raise --student-adam-eps-root"


def run(words: Sequence[str]) -> None:
    """Check what the options of teaching name, and print what is found."""
    taught = teaching_task(words)
    members = len(taught.lessons.members)
    for member in range(members):
        if members > 1:
            print(f"student {member + 1} of {members}:")
        for line in findings(taught, member):
            print(line, flush=True)


def findings(taught: TeachingTask, member: int = 0) -> Iterator[str]:
    """Yield a line for each thing that is found of a member, as soon as it is.

    Raises:
        StateError, InputError: the student cannot be taught in this way.
    """
    lessons, words = taught.lessons, taught.task.target_dictionary
    lesson = lessons.validation(taught.device, member)
    params, loss = lesson.start.params, lessons.loss

    def times_neutral(factor: float) -> Tensor:
        return loss.start(len(words), factor).to(params)

    prospect = Prospect(
        lesson=lesson,
        start=times_neutral(taught.phi_start),
        low=loss.bounds(len(words))[0],
        plan=lessons.plan,
        products=takes_products(lessons.estimator),
        observed=taught.teacher.reads_progress,
        kept=lessons.kept,
        constants=constant_trials(lesson, times_neutral, taught.phi_start, loss.form.starts_neutral),
        shares=[_share_trial(lesson, lessons, words, share) for share in SHARES],
        score=lambda student, params, _: lessons.greedy(student, params).score,
        score_name="greedy BLEU on dev",
        smoother=SMOOTHER,
        updates=lesson.updates,
    )
    yield from derivative_lines(prospect)
    yield price_line(prospect, prospect.cost)
    yield from movement_lines(prospect)


def _share_trial(lesson: TranslationLesson, lessons: Lessons, words: Dictionary, share: float) -> Trial:
    """Return the trial of a uniform share, in the run's own link, so that its rate fits, without regularisers."""
    spec = f"bins(number=1,linear={lessons.loss.form.linear},start={share:g})"
    form = FORMS.make(spec).fitted(type_facts(words))
    alone = replace(lessons.loss, dynamic=DynamicLoss(form, words.pad()), regularisers=())
    other = replace(lesson, student=lesson.student.with_objective(translation_objective(alone)))
    return Trial(share_title(share), other, form.neutral(len(words)).to(lesson.start.params))
