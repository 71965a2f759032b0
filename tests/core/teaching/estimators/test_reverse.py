"""The paper's estimator: the surrogate's gradient against autograd through the student's whole run to θ."""

import math

import pytest
import torch

from fairseq_dlf.core.hypergradient.episode import EpisodePlan
from fairseq_dlf.core.hypergradient.schedules import Binomial, Checkpoints
from fairseq_dlf.core.hypergradient.storage import OnDevice
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.teaching.estimators import ESTIMATORS, Reverse, estimate
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.teachers import AttentionTeacher, StaticTeacher
from tests.core.teaching.toy import FEATURES, Remembering, ToyLesson

STEPS = 7


def attention():
    return AttentionTeacher(torch.randn(2, 4).double(), torch.randn(4, 2).double())


TEACHERS = {
    "attention": attention,
    "static": lambda: StaticTeacher(torch.randn(2).double()),
    "remembering": lambda: Remembering(torch.randn(2).double(), torch.randn(2, 2).double()),
}
TRAJECTORIES = {
    "everything": TrajectoryPlan(),
    "checkpoints": TrajectoryPlan(Checkpoints(3), OnDevice),
    "binomial": TrajectoryPlan(Binomial(2), OnDevice),
}


def lesson_of(**changes):
    return ToyLesson(updates=STEPS, interval=3, dtype=torch.float64, **changes)


def by_autograd(lesson, teacher):
    """∂M̃/∂θ by plain autograd through the whole run; the teacher sees the student's values, not its graph."""
    state, memory, block = lesson.start, teacher.start(), None
    state = type(state)(state.params.requires_grad_(), state.slots)
    for t in range(lesson.updates):
        if t % lesson.interval == 0:
            length = min(lesson.interval, lesson.updates - t)
            progress = torch.empty(length, 2, dtype=torch.float64)
            progress[:, 0] = (torch.arange(lesson.updates) / lesson.updates)[t : t + length]
            progress[:, 1] = lesson.observe(t, state.params, {})
            block, memory = teacher(progress, memory)
        batch, _, rate = lesson.step(t)
        loss = lesson.student.objective(lambda state=state: state.params, block[t % lesson.interval], batch)
        (gradient,) = torch.autograd.grad(loss, state.params, create_graph=True)
        state = lesson.rule.step(state, gradient, rate)
    return torch.autograd.grad(lesson.measure(state.params), list(teacher.parameters()))


@pytest.mark.parametrize("kept", TRAJECTORIES)
@pytest.mark.parametrize("kind", TEACHERS)
def test_the_gradient_is_that_of_autograd_through_the_run(kind, kept):
    torch.manual_seed(5)
    teacher, lesson = TEACHERS[kind](), lesson_of()
    estimator = Reverse(EpisodePlan(STEPS, trajectory=TRAJECTORIES[kept], collapse_share=0.0))
    found = estimate(estimator, lesson, teacher, len(FEATURES))
    gradients = torch.autograd.grad(found.loss, list(teacher.parameters()))
    for mine, wanted in zip(gradients, by_autograd(lesson_of(), teacher), strict=True):
        torch.testing.assert_close(-mine, wanted, rtol=1e-10, atol=1e-14)
        assert wanted.abs().max() > 1e-4
    assert found.collapse is None and len(lesson.observed) == (0 if kind == "static" else 3)


def test_figures_are_those_of_the_episode():
    torch.manual_seed(5)
    teacher, lesson = attention(), lesson_of()
    found = estimate(Reverse(EpisodePlan(STEPS)), lesson, teacher, len(FEATURES))
    figures = found.figures
    assert figures["measure_before"] == pytest.approx(math.exp(-1.25))
    assert figures["measure_after"] == lesson.measure.value(found.student.final.params) != figures["measure_before"]
    assert figures["dphi_norm"] > 0 and figures["leverage"] > 0 and figures["cotangent_growth"] > 0
    assert figures["forward_s"] > 0 and figures["reverse_s"] > 0 and math.isfinite(figures["student_loss"])


@pytest.mark.parametrize(
    ("changes", "floor", "words"),
    [
        ({"rate": 1e20}, 0.0, "loss is not finite"),
        ({}, 0.999, "under its floor of 0.9990"),
    ],
)
def test_a_collapsed_lesson_has_a_loss_without_weight(changes, floor, words):
    """Every process must go through the teacher, whether its own lesson collapsed or not."""
    torch.manual_seed(5)
    teacher = attention()
    found = estimate(Reverse(EpisodePlan(STEPS)), lesson_of(**changes), teacher, len(FEATURES), floor)
    assert words in found.collapse
    assert found.figures["dphi_norm"] == found.figures["leverage"] == found.figures["cotangent_growth"] == 0.0
    gradients = torch.autograd.grad(found.loss, list(teacher.parameters()))
    assert not any(gradient.any() for gradient in gradients)


def test_the_teacher_may_be_wrapped():
    """`along` is what several processes wrap: the loss goes through it, and through nothing else."""
    torch.manual_seed(5)
    teacher, lesson = attention(), lesson_of()
    plain = estimate(Reverse(EpisodePlan(STEPS)), lesson, teacher, len(FEATURES))
    guidance = Guidance(lesson_of(), teacher, len(FEATURES))
    doubled = Reverse(EpisodePlan(STEPS))(lesson_of(), guidance, lambda progress: 2 * teacher.along(progress))
    torch.testing.assert_close(doubled.loss, 2 * plain.loss)


def test_it_is_made_by_name_from_a_plan():
    plan = EpisodePlan(STEPS, truncation=2, cotangent_clip=0.5)
    made = ESTIMATORS.make("reverse", plan=plan)
    assert made == Reverse(plan)
    assert made.signature == {"estimator": "reverse", **plan.signature}
    assert made.signature["truncation"] == 2 and made.signature["cotangent_clip"] == 0.5


def test_a_collapsed_lesson_whose_coefficients_sum_to_nothing_has_a_loss_of_zero():
    teacher = StaticTeacher(torch.tensor([1.0, -1.0]).double())
    found = estimate(Reverse(EpisodePlan(STEPS)), lesson_of(rate=1e20), teacher, len(FEATURES))
    assert found.collapse and found.loss.item() == 0.0
