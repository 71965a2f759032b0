"""Coefficients along a course: what is observed when, and what is replayed."""

import random

import pytest
import torch

from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.teachers import AttentionTeacher, StaticTeacher
from tests.core.teaching.toy import FEATURES, Remembering, ToyLesson


@pytest.fixture
def teacher():
    torch.manual_seed(3)
    return Remembering(torch.tensor([0.5, -0.3]), torch.randn(2, 2))


def guided(teacher, lesson):
    guidance = Guidance(lesson, teacher, len(FEATURES))
    way = (lesson.student, lesson.rule, guidance.source, lesson.start, lesson.updates)
    return guidance, unroll(*way, observe=guidance.observe)


def test_a_step_has_the_teachers_coefficients_and_the_courses_rest(teacher):
    lesson = ToyLesson(updates=4, interval=4)
    guidance = Guidance(lesson, teacher, len(FEATURES))
    step = guidance.source(2)
    assert torch.equal(step.coefficients, guidance.coefficients(2)) and not step.coefficients.requires_grad
    assert torch.equal(step.batch, lesson.targets[2]) and (step.seed, step.learning_rate) == (2, 0.2)


def test_the_student_is_observed_once_an_interval_and_time_moves_in_between(teacher):
    lesson = ToyLesson(updates=7, interval=3)
    guidance, _ = guided(teacher, lesson)
    assert lesson.observed == guidance.observed() == [0, 3, 6]
    torch.testing.assert_close(guidance.progress[:, 0], torch.arange(7) / 7)
    seen = guidance.progress[:, 1].tolist()
    assert seen[0] == seen[1] == seen[2] and seen[3] == seen[4] == seen[5] and len(set(seen)) == 3
    guidance.observe(3, torch.zeros(2), {})
    assert lesson.observed == [0, 3, 6] and guidance.progress[:, 1].tolist() == seen


def test_who_reads_no_progress_is_shown_none():
    lesson = ToyLesson()
    guidance, _ = guided(StaticTeacher(torch.tensor([0.5, 2.0])), lesson)
    assert lesson.observed == [] and not guidance.progress[:, 1].any()
    assert torch.equal(guidance.coefficients(5), torch.tensor([0.5, 2.0]))


def test_what_is_observed_must_be_normalised(teacher):
    lesson = ToyLesson()
    lesson.observe = lambda t, params, buffers: torch.tensor([1.5])
    with pytest.raises(ValueError, match="number 0 is 1.5, but must be normalised"):
        Guidance(lesson, teacher, len(FEATURES)).observe(0, torch.zeros(2), {})


def test_an_observation_changes_coefficients_that_were_given_before_it():
    teacher = AttentionTeacher(torch.tensor([[0.0, 1.0], [2.0, 5.0]]), 3 * torch.eye(2))
    guidance = Guidance(ToyLesson(), teacher, len(FEATURES))
    before = guidance.coefficients(1)
    guidance.observe(0, torch.ones(2), {})
    assert not torch.equal(guidance.coefficients(1), before)
    torch.testing.assert_close(guidance.coefficients(1), teacher.along(guidance.progress)[1])


def test_what_was_given_is_given_again_in_any_order(teacher):
    lesson = ToyLesson(updates=11, interval=3)
    guidance, _ = guided(teacher, lesson)
    wanted = teacher.along(guidance.progress).detach()
    order = [*range(11), *reversed(range(11)), *random.Random(1).choices(range(11), k=40)]
    for t in order:
        torch.testing.assert_close(guidance.coefficients(t), wanted[t], rtol=1e-6, atol=1e-6)
    # The memory matters: without what came before, the last interval is another.
    assert (teacher.along(guidance.progress[9:]) - wanted[9:]).abs().max() > 0.01


@pytest.mark.parametrize("done", [3, 6, 8])
def test_a_course_that_is_resumed_is_the_straight_one(teacher, done):
    straight, whole = guided(teacher, ToyLesson(updates=11, interval=3))
    lesson = ToyLesson(updates=11, interval=3)
    first = Guidance(lesson, teacher, len(FEATURES))
    way = (lesson.student, lesson.rule)
    head = unroll(*way, first.source, lesson.start, done, observe=first.observe)
    second = Guidance(lesson, teacher, len(FEATURES))
    second.coefficients(done)  # what was given before is forgotten
    second.restore(first.progress, done)
    tail = unroll(*way, second.source, head.final, 11 - done, observe=second.observe, first=done)
    assert lesson.observed == [0, 3, 6, 9]
    assert torch.equal(second.progress, straight.progress)
    torch.testing.assert_close(tail.final.params, whole.final.params, rtol=1e-6, atol=1e-6)
    for t in range(11):
        torch.testing.assert_close(second.coefficients(t), straight.coefficients(t), rtol=1e-6, atol=1e-6)


def test_what_was_seen_before_a_resume_is_not_observed_again(teacher):
    lesson = ToyLesson()
    guidance = Guidance(lesson, teacher, len(FEATURES))
    guidance.restore(guidance.progress.clone(), 7)
    for t in range(11):
        guidance.observe(t, lesson.start.params, {})
    assert lesson.observed == [9]


def test_long_courses_with_short_intervals_are_resumed(teacher):
    lesson = ToyLesson(updates=3000, interval=1)
    guidance = Guidance(lesson, teacher, len(FEATURES))
    guidance.restore(torch.full((3000, 2), 1e-3), done=2999)
    wanted = teacher.base + 1e-3 * 3000 * teacher.weight.sum(dim=1)
    torch.testing.assert_close(guidance.coefficients(2999), wanted.detach(), rtol=1e-3, atol=1e-3)


def test_a_teacher_in_double_precision_sees_progress_in_it():
    teacher = AttentionTeacher(torch.rand(2, 3, dtype=torch.float64), torch.rand(3, 2, dtype=torch.float64))
    guidance, _ = guided(teacher, ToyLesson(dtype=torch.float64))
    assert guidance.progress.dtype == guidance.coefficients(0).dtype == torch.float64
