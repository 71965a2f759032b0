"""Difference quotients against the exact gradient, and what they do with students that collapse."""

import math
from collections import Counter

import pytest
import torch

from fairseq_dlf.core.hypergradient.episode import EpisodePlan
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.estimators import ESTIMATORS, ForwardDifferences, Reverse, estimate
from fairseq_dlf.core.teaching.teachers import AttentionTeacher, ScheduleTeacher, StaticTeacher
from tests.core.teaching.toy import FEATURES, ToyLesson

STEPS = 7
PLAN = EpisodePlan(STEPS, collapse_share=0.0)


def lesson_of(**changes):
    return ToyLesson(updates=STEPS, dtype=torch.float64, **changes)


def gradients_of(estimator, teacher, lesson=None):
    found = estimate(estimator, lesson or lesson_of(), teacher, len(FEATURES))
    return found, torch.autograd.grad(found.loss, list(teacher.parameters()))


TEACHERS = {
    "static": lambda: StaticTeacher(torch.randn(2).double()),
    "schedule": lambda: ScheduleTeacher(torch.randn(2, 3).double()),
    "attention": lambda: AttentionTeacher(torch.randn(2, 2).double(), torch.randn(2, 2).double()),
}


@pytest.mark.parametrize("kind", TEACHERS)
def test_small_steps_give_the_exact_gradient(kind):
    torch.manual_seed(5)
    teacher = TEACHERS[kind]()
    # Without an observation between the first and the last update, which the reverse pass takes as given.
    lesson = lesson_of(interval=STEPS)
    _, found = gradients_of(ForwardDifferences(PLAN, step=1e-6), teacher, lesson)
    _, wanted = gradients_of(Reverse(PLAN), teacher, lesson_of(interval=STEPS))
    for mine, exact in zip(found, wanted, strict=True):
        assert exact.norm() > 1e-4
        torch.testing.assert_close(mine, exact, rtol=1e-4, atol=1e-8)


def test_a_step_is_a_secant():
    torch.manual_seed(5)
    teacher = StaticTeacher(torch.randn(2).double())
    found, (gradient,) = gradients_of(ForwardDifferences(PLAN, step=0.5), teacher)
    moved = StaticTeacher(teacher.phi.detach() + torch.tensor([0.0, 0.5]))
    other = estimate(ForwardDifferences(PLAN), lesson_of(), moved, len(FEATURES)).figures["measure_after"]
    assert -gradient[1].item() == pytest.approx((other - found.figures["measure_after"]) / 0.5)


def test_figures_and_cost():
    torch.manual_seed(5)
    lesson, teacher, calls = lesson_of(), StaticTeacher(torch.randn(2).double()), Counter()
    plain, value = lesson.student.gradients, lesson.measure.value
    lesson.student.gradients = lambda *given: calls.update(["updates"]) or plain(*given)
    lesson.measure.value = lambda params: calls.update(["measures"]) or value(params)
    found, (gradient,) = gradients_of(ForwardDifferences(PLAN), teacher, lesson)
    assert calls == {"updates": 3 * STEPS, "measures": 4}
    figures = found.figures
    assert figures["measure_before"] == pytest.approx(math.exp(-1.25))
    assert figures["measure_after"] == value(found.student.final.params)
    assert figures["dtheta_norm"] == pytest.approx(gradient.norm().item(), rel=1e-5)
    assert found.collapse is None


def test_the_teacher_is_left_as_it_was():
    torch.manual_seed(5)
    teacher = ScheduleTeacher(torch.randn(2, 3).double())
    before = teacher.knots.detach().clone()
    gradients_of(ForwardDifferences(PLAN), teacher)
    assert torch.equal(teacher.knots, before)


def test_a_lesson_that_collapses_teaches_nothing():
    teacher = StaticTeacher(torch.ones(2).double())
    found, (gradient,) = gradients_of(ForwardDifferences(PLAN), teacher, lesson_of(rate=1e20))
    assert "not finite" in found.collapse and gradient.tolist() == [0.0, 0.0]
    found = estimate(ForwardDifferences(PLAN), lesson_of(), teacher, len(FEATURES), floor=1.1)
    assert "under its floor of 1.1" in found.collapse


def test_a_direction_whose_student_collapses_counts_as_flat():
    """A student that is pulled a hundred times as hard diverges."""
    teacher, lesson = StaticTeacher(torch.tensor([0.0, 0.0]).double()), lesson_of()
    plain = lesson.student.gradients

    def gradients(point, *more):
        found = plain(point, *more)
        return found._replace(loss=found.loss * math.nan) if point.coefficients[0] > 0 else found

    lesson.student.gradients = gradients
    found, (gradient,) = gradients_of(ForwardDifferences(PLAN), teacher, lesson)
    assert found.collapse is None
    assert gradient[0] == 0.0 and gradient[1] != 0.0


def test_options_and_sizes_are_checked():
    with pytest.raises(InputError, match="step of the differences is 0, but must be positive"):
        ESTIMATORS.make("forward_differences(step=0)", plan=PLAN)
    with pytest.raises(InputError, match="the teacher has 300 parameters, .* at most 256: take a form of few"):
        estimate(ForwardDifferences(PLAN), lesson_of(), StaticTeacher(torch.ones(300)), len(FEATURES))


def test_the_signature_holds_the_step():
    estimator = ESTIMATORS.make("forward_differences(step=0.25)", plan=PLAN)
    assert estimator.signature["estimator"] == "forward_differences" and estimator.signature["step"] == 0.25
