"""A run cut into windows: steps, progress, memory and the student are those of the whole run."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.episode import EpisodePlan
from fairseq_dlf.core.hypergradient.unroll import unroll
from fairseq_dlf.core.teaching.estimators import ForwardDifferences, Reverse, estimate
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.window import Window
from tests.core.teaching.toy import FEATURES, Remembering, ToyLesson


@pytest.fixture
def teacher():
    torch.manual_seed(3)
    return Remembering(torch.tensor([0.5, -0.3]), 0.3 * torch.randn(2, 2))


def guided(guidance, lesson):
    return unroll(lesson.student, lesson.rule, guidance.source, lesson.start, lesson.updates, observe=guidance.observe)


def test_windows_make_up_the_run(teacher):
    """Also a last one that is shorter."""
    whole = ToyLesson(updates=7, interval=3)
    guidance = Guidance(whole, teacher, len(FEATURES))
    wanted = guided(guidance, whole)
    lesson = ToyLesson(updates=7, interval=3)
    state, memory, found = lesson.start, teacher.start(), []
    for first in (0, 3, 6):
        window = Window(lesson, first, min(3, 7 - first), state, memory)
        part = window.guidance(teacher, len(FEATURES))
        state, memory = guided(part, window).final, part.memory()
        found += [part.coefficients(t) for t in range(window.updates)]
        assert torch.equal(part.progress, guidance.progress[first : first + 3])
    assert torch.equal(state.params, wanted.final.params) and torch.equal(state.slots[0], wanted.final.slots[0])
    assert torch.equal(torch.stack(found), torch.stack([guidance.coefficients(t) for t in range(7)]))
    assert torch.equal(memory[0], guidance.memory()[0]) and lesson.observed == [0, 3, 6]


def test_what_a_teacher_remembers_is_known_without_a_run(teacher):
    guidance = Guidance(ToyLesson(updates=7, interval=3), teacher, len(FEATURES))
    torch.testing.assert_close(guidance.memory()[0], guidance.progress.sum(dim=0))


def test_the_teachers_forward_goes_on_from_its_memory(teacher):
    window = Window(ToyLesson(), 3, 2, ToyLesson().start, (torch.tensor([2.0, 5.0]),))
    guidance = window.guidance(teacher, len(FEATURES))
    found = guidance.along(guidance.progress)
    assert torch.equal(found.detach(), torch.stack([guidance.coefficients(0), guidance.coefficients(1)]))
    assert found.requires_grad
    assert (found - teacher.along(guidance.progress)).abs().min() > 0.1


@pytest.mark.parametrize("estimator", [Reverse(EpisodePlan(7)), ForwardDifferences(EpisodePlan(7))])
def test_a_window_of_the_whole_run_is_the_lesson(teacher, estimator):
    lesson = ToyLesson(updates=7, interval=7)
    found = []
    window = Window(lesson, 0, 7, lesson.start, teacher.start())
    guidance = window.guidance(teacher, len(FEATURES))
    for estimated in (
        estimate(estimator, lesson, teacher, len(FEATURES)),
        estimator(window, guidance, guidance.along),
    ):
        found.append((torch.autograd.grad(estimated.loss, list(teacher.parameters())), estimated.student))
    (gradients, student), (others, end) = found
    assert all(map(torch.equal, gradients, others)) and max(map(torch.Tensor.norm, gradients)) > 1e-3
    assert torch.equal(student.final.params, end.final.params)
    assert torch.equal(student.final.slots[0], end.final.slots[0]) and torch.equal(student.losses, end.losses)


def test_another_teacher_goes_the_same_way(teacher):
    """Forward differences move the teacher, and its memory must be the window's."""
    memory = (torch.tensor([2.0, 5.0]),)
    window = Window(ToyLesson(), 3, 3, ToyLesson().start, memory)
    guidance = window.guidance(teacher, len(FEATURES))
    guidance.observe(0, torch.ones(2), {})
    other = Remembering(teacher.base.detach() + 1, teacher.weight.detach())
    moved = guidance.of(other)
    assert not moved.progress[:, 1].any()
    moved.observe(0, torch.ones(2), {})
    assert torch.equal(moved.progress, guidance.progress)
    torch.testing.assert_close(moved.coefficients(2), guidance.coefficients(2) + 1)
