"""The gradient of a step of Φ, against autograd through both lessons, window after window."""

import math
from collections import Counter

import pytest
import torch
from torch.nn.functional import cross_entropy

from fairseq_dlf.core.hypergradient.curvature import CentralDifference, ForwardDifference
from fairseq_dlf.core.hypergradient.episode import EpisodePlan
from fairseq_dlf.core.hypergradient.function_measure import FunctionMeasure
from fairseq_dlf.core.hypergradient.schedules import Binomial, Checkpoints
from fairseq_dlf.core.hypergradient.storage import OnDevice
from fairseq_dlf.core.hypergradient.student import Student
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.update_rules import SGD, Adam, StudentState
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.estimators import ESTIMATORS, ForwardDifferences, Reverse, TwoUnrolls, estimate
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.lesson import LessonStep
from fairseq_dlf.core.teaching.loss import DynamicLoss
from fairseq_dlf.core.teaching.teachers import LSTMTeacher, StaticTeacher
from tests.core.teaching.toy import FEATURES, ToyLesson

STEPS, WINDOWS = 4, 3


class ToyWindow(ToyLesson):
    """Updates of two numbers that begin at a given state."""

    def __init__(self, number, state, rule):
        super().__init__(seed=number, updates=STEPS, dtype=torch.float64)
        self.rule = rule
        self.state = self.rule.initial(self.student.flat_params()) if state is None else state

    @property
    def start(self):
        return self.state


class Classes:
    """A small classifier under a network of the loss, in float64; its weights begin at a given state."""

    def __init__(self, number, state, rule, spec="loss_network(width=3,depth=2)", bend=torch.tanh):
        torch.manual_seed(3)
        module = torch.nn.Linear(3, 4).double()
        self.inputs, self.labels = torch.randn(2, 6, 3).double(), torch.randint(4, (2, 6))
        form = FORMS.make(spec)

        def objective(forward, coefficients, batch):
            return DynamicLoss(form)(bend(forward(self.inputs[0, batch])), self.labels[0, batch], coefficients).loss

        self.student, self.rule, self.updates, self.interval = Student(module, objective), rule, STEPS, STEPS
        self.number, self.start = number, state or rule.initial(self.student.flat_params())
        self.form = form
        self.measure = FunctionMeasure(self.dev)

    def dev(self, params):
        logits = self.student.run(params, lambda forward: forward(self.inputs[1]))
        return torch.exp(-cross_entropy(logits, self.labels[1]))

    def step(self, t):
        batch = torch.tensor([(self.number + t) % 6, (2 * t + 1) % 6])
        return LessonStep(batch, t, 0.2 + 0.01 * t)


def toy_phi():
    return torch.tensor([0.5, -0.3], dtype=torch.float64)


def network_phi():
    return FORMS.make("loss_network(width=3,depth=2)").neutral(4).double()


TASKS = {
    "toy": (ToyWindow, toy_phi, lambda lesson: lesson.measure),
    "loss network": (Classes, network_phi, lambda lesson: lesson.dev),
}
RULES = {"sgd": SGD(), "momentum": SGD(momentum=0.7), "adam": Adam(epsilon_root=1e-3)}
TRAJECTORIES = {
    "everything": TrajectoryPlan(),
    "graphs": TrajectoryPlan(graphs=2),
    "checkpoints": TrajectoryPlan(Checkpoints(3), OnDevice),
    "binomial": TrajectoryPlan(Binomial(2), OnDevice),
}


def teacher_of(phi):
    torch.manual_seed(4)
    return LSTMTeacher.untaught(phi, len(FEATURES), width=3, layers=2, step=0.5)


def unrolled(lesson, phi, measure, first=0):
    """M̃ and the end of the lesson, both with a graph to Φ through its updates from `first` on."""
    state = lesson.start
    for t in range(lesson.updates):
        given = phi if t >= first else phi.detach()
        batch, _, rate = lesson.step(t)
        leaf = state.params if state.params.requires_grad else state.params.detach().requires_grad_()

        def forward(*inputs, leaf=leaf):
            return lesson.student.run(leaf, lambda module: module(*inputs))

        loss = lesson.student.objective(forward, given, batch)
        (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
        state = lesson.rule.step(StudentState(leaf, state.slots), gradient, rate)
        if t < first:
            state = StudentState(state.params.detach(), tuple(slot.detach() for slot in state.slots))
    return measure(state.params), state


def by_autograd(lesson, teacher, memory, measure, first=0):
    """∂M̃/∂θ through both lessons, the memory after the step and the end of the second lesson."""
    phi = memory[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(unrolled(lesson, phi, measure, first)[0], phi)
    stepped = teacher.advance(memory, -slope)
    value, end = unrolled(lesson, stepped[0], measure, first)
    gradients = torch.autograd.grad(value, list(teacher.parameters()))
    kept = tuple(tensor.detach() for tensor in stepped)
    return gradients, kept, StudentState(end.params.detach(), tuple(slot.detach() for slot in end.slots)), value


def plan_of(**changes):
    return EpisodePlan(STEPS, collapse_share=0.0, **changes)


def compare(task, rule, plan, tolerance=1e-10):
    """Go through some windows, of which each begins where the one before it ended."""
    window, phi, measure_of = TASKS[task]
    teacher, state = teacher_of(phi()), None
    memory, optimizer = teacher.start(), torch.optim.SGD(teacher.parameters(), lr=0.1)
    for number in range(WINDOWS):
        lesson = window(number, state, rule)
        measure = measure_of(lesson)
        wanted, memory, state, value = by_autograd(lesson, teacher, memory, measure, plan.first)
        found = estimate(TwoUnrolls(plan), lesson, teacher, len(FEATURES))
        optimizer.zero_grad()
        found.loss.backward()
        for parameter, other in zip(teacher.parameters(), wanted, strict=True):
            assert (parameter.grad + other).norm() <= tolerance * other.norm()
        assert max(float(other.norm()) for other in wanted) > 1e-6
        assert found.figures["measure_after"] == pytest.approx(value.item(), rel=max(tolerance, 1e-10))
        torch.testing.assert_close(found.student.final.params, state.params, rtol=tolerance, atol=tolerance)
        for mine, other in zip(teacher.start(), memory, strict=True):
            torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)
        optimizer.step()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("task", TASKS)
def test_the_gradient_is_that_of_autograd_through_both_lessons(task, rule):
    compare(task, RULES[rule], plan_of())


@pytest.mark.parametrize("kept", TRAJECTORIES)
def test_whatever_of_the_past_is_kept(kept):
    compare("loss network", RULES["momentum"], plan_of(trajectory=TRAJECTORIES[kept]))


@pytest.mark.parametrize("task", TASKS)
def test_a_truncated_gradient_goes_back_through_the_last_updates_of_both(task):
    compare(task, RULES["sgd"], plan_of(truncation=2))


@pytest.mark.parametrize("curvature", [CentralDifference(1e-4), ForwardDifference(1e-6)])
def test_products_may_be_differences(curvature):
    compare("toy", RULES["momentum"], plan_of(curvature=curvature), tolerance=1e-4)


def first_window(rule=RULES["sgd"]):
    return ToyWindow(0, None, rule)


def test_figures_are_of_both_lessons():
    teacher, lesson = teacher_of(toy_phi()), first_window()
    found = estimate(TwoUnrolls(plan_of()), lesson, teacher, len(FEATURES))
    figures, phi = found.figures, toy_phi()
    assert figures["measure_before"] == pytest.approx(math.exp(-1.25))
    assert figures["measure_without_step"] == pytest.approx(unrolled(lesson, phi, lesson.measure)[0].item())
    assert figures["measure_after"] == pytest.approx(unrolled(lesson, teacher.phi, lesson.measure)[0].item())
    assert figures["measure_after"] != figures["measure_without_step"]
    assert figures["phi_step_norm"] == pytest.approx((teacher.phi - phi).norm().item()) != 0.0
    assert figures["dphi_norm"] > 0 and figures["forward_s"] > 0 and figures["reverse_s"] > 0
    assert math.isfinite(figures["student_loss"]) and found.collapse is None


def test_cost_is_two_episodes_but_for_a_measure():
    teacher, lesson, calls = teacher_of(toy_phi()), first_window(), Counter()
    value, both = lesson.measure.value, lesson.measure.value_and_cotangent
    lesson.measure.value = lambda params: calls.update(["value"]) or value(params)
    lesson.measure.value_and_cotangent = lambda params: calls.update(["cotangent"]) or both(params)
    plain = lesson.student.gradients
    lesson.student.gradients = lambda *given: calls.update(["updates"]) or plain(*given)
    estimate(TwoUnrolls(plan_of()), lesson, teacher, len(FEATURES))
    assert calls == {"value": 1, "cotangent": 2, "updates": 2 * STEPS}


def test_the_teachers_step_is_down_the_gradient_when_it_has_learned():
    """Taught on the same window again and again, the teacher learns to move Φ to where M̃ is greater."""
    teacher, gains = teacher_of(toy_phi()), []
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.05)
    for _ in range(15):
        teacher.begin(toy_phi())
        found = estimate(TwoUnrolls(plan_of()), first_window(), teacher, len(FEATURES))
        gains.append(found.figures["measure_after"] - found.figures["measure_without_step"])
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
    assert gains[-1] > 0 and gains[-1] > gains[0] + 1e-3


# Collapse -----------------------------------------------------------------------------


def require_nothing_learned(teacher, before, found):
    gradients = torch.autograd.grad(found.loss, list(teacher.parameters()))
    assert not any(gradient.any() for gradient in gradients)
    assert all(torch.equal(mine, other) for mine, other in zip(teacher.start(), before, strict=True))


def test_a_first_lesson_that_collapses_makes_no_step():
    teacher, lesson = teacher_of(toy_phi()), first_window()
    lesson.rate = 1e20
    before = teacher.start()
    found = estimate(TwoUnrolls(plan_of()), lesson, teacher, len(FEATURES))
    assert "loss is not finite" in found.collapse and found.figures["phi_step_norm"] == 0.0
    assert found.figures.keys() == figures_of_a_good_one()
    require_nothing_learned(teacher, before, found)


def test_a_second_lesson_that_collapses_takes_the_step_back():
    """The student goes on from the end of the first lesson, which was sound."""
    teacher, lesson = teacher_of(toy_phi()), first_window()
    plain, before = lesson.student.gradients, teacher.start()

    def gradients(point, *more):
        found = plain(point, *more)
        return found._replace(loss=found.loss * math.nan) if (point.coefficients != before[0]).any() else found

    lesson.student.gradients = gradients
    found = estimate(TwoUnrolls(plan_of()), lesson, teacher, len(FEATURES))
    assert "loss is not finite" in found.collapse and found.figures["phi_step_norm"] > 0.0
    torch.testing.assert_close(found.student.final.params, unrolled(lesson, before[0], lesson.measure)[1].params)
    assert found.figures.keys() == figures_of_a_good_one()
    require_nothing_learned(teacher, before, found)


def figures_of_a_good_one():
    return estimate(TwoUnrolls(plan_of()), first_window(), teacher_of(toy_phi()), len(FEATURES)).figures.keys()


def test_a_floor_holds_for_both_lessons():
    found = estimate(TwoUnrolls(plan_of()), first_window(), teacher_of(toy_phi()), len(FEATURES), floor=0.999)
    assert "under its floor of 0.9990" in found.collapse


# Options ------------------------------------------------------------------------------


def test_it_is_made_by_name_from_a_plan():
    plan = plan_of(truncation=2, cotangent_clip=0.5)
    made = ESTIMATORS.make("two_unrolls", plan=plan)
    assert made == TwoUnrolls(plan)
    assert made.signature == {**Reverse(plan).signature, "estimator": "two_unrolls"}


def test_only_teachers_and_estimators_that_match_are_taken():
    static, lstm = StaticTeacher(toy_phi()), teacher_of(toy_phi())
    with pytest.raises(InputError, match="teachers such as lstm, and a teacher static is none") as caught:
        estimate(TwoUnrolls(plan_of()), first_window(), static, len(FEATURES))
    assert caught.value.setting == "teacher"
    for estimator in (Reverse(plan_of()), ForwardDifferences(plan_of())):
        with pytest.raises(InputError, match="a teacher lstm moves Φ .*: take the estimator two_unrolls") as caught:
            estimate(estimator, first_window(), lstm, len(FEATURES))
        assert caught.value.setting == "estimator"
