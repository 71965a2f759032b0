"""Batch normalisation in the student: its running figures, and the gradient ladder through it."""

import pytest
import torch
from torch import nn

from fairseq_dlf.core.hypergradient.episode import EpisodePlan, MeasuredCotangent, run_episode
from fairseq_dlf.core.hypergradient.schedules import Binomial, Everything
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.unroll import Step, unroll
from fairseq_dlf.core.hypergradient.update_rules import SGD

STEPS, RATE = 6, 0.3
RULE = SGD(momentum=0.9)


class Measure:
    """A smooth measure of the student on a batch of its own."""

    def __init__(self, student, inputs):
        self.student = student
        self.inputs = inputs

    def __call__(self, params):
        return self.student.run(params, lambda forward: forward(self.inputs).sigmoid().mean())

    def value(self, params):
        return self(params).item()

    def value_and_cotangent(self, params):
        leaf = params.detach().requires_grad_()
        value = self(leaf)
        return MeasuredCotangent(value.item(), torch.autograd.grad(value, leaf)[0])


@pytest.fixture
def made():
    torch.manual_seed(2)
    module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3)).double().train()
    batches = torch.randn(STEPS, 8, 5, dtype=torch.float64)
    coefficients = 1 + torch.rand(STEPS, 3, dtype=torch.float64)

    def objective(forward, phi, batch):
        return (phi * forward(batch).square()).mean()

    def source(t):
        return Step(coefficients[t], batches[t], 0, RATE)

    student = Student(module, objective)
    return student, source, Measure(student, torch.randn(16, 5, dtype=torch.float64)), coefficients


def trained_by_torch(module, source):
    """The same updates by torch's own optimiser, in the module itself."""
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE, momentum=0.9)
    for t in range(STEPS):
        optimizer.zero_grad()
        step = source(t)
        (step.coefficients * module(step.batch).square()).mean().backward()
        optimizer.step()
    return dict(module.named_buffers())


@pytest.mark.parametrize("schedule", [Everything(), Binomial(2)])
def test_running_figures_are_those_of_plain_training_after_episode_and_replay(made, schedule):
    student, source, measure, _ = made
    plan = EpisodePlan(STEPS, trajectory=TrajectoryPlan(schedule), collapse_share=0.0)
    untouched = student.buffers()
    result = run_episode(student, RULE, source, RULE.initial(student.flat_params()), measure, plan)
    assert result.hypergradient is not None
    for name, buffer in student.module.named_buffers():
        assert torch.equal(buffer, untouched[name]), name
    wanted = trained_by_torch(student.module, source)
    assert int(wanted["1.num_batches_tracked"]) == STEPS
    for name, buffer in wanted.items():
        torch.testing.assert_close(result.buffers[name], buffer, rtol=1e-12, atol=1e-14)


def test_equals_autograd_through_the_unroll(made):
    student, source, measure, coefficients = made
    plan = EpisodePlan(STEPS, trajectory=TrajectoryPlan(Binomial(3)), collapse_share=0.0)
    start = RULE.initial(student.flat_params())
    found = run_episode(student, RULE, source, start, measure, plan).hypergradient.coefficients
    leaf = coefficients.clone().requires_grad_()
    state = RULE.initial(student.flat_params().requires_grad_())
    for t in range(STEPS):
        loss = student.loss(Point(state.params, leaf[t], source(t).batch, 0))
        state = RULE.step(state, torch.autograd.grad(loss, state.params, create_graph=True)[0], RATE)
    (wanted,) = torch.autograd.grad(measure(state.params), leaf)
    assert wanted.norm() > 1e-4
    assert (found - wanted).norm() / wanted.norm() < 1e-10


def test_a_run_in_two_parts_is_the_run_in_one(made):
    student, source, _, _ = made
    start = RULE.initial(student.flat_params())
    whole = unroll(student, RULE, source, start, STEPS)
    head = unroll(student, RULE, source, start, 2)
    tail = unroll(student, RULE, source, head.final, STEPS - 2, buffers=head.buffers, first=2)
    assert torch.equal(tail.final.params, whole.final.params)
    assert torch.equal(torch.cat([head.losses, tail.losses]), whole.losses)
    for name, buffer in whole.buffers.items():
        assert torch.equal(tail.buffers[name], buffer), name


def test_the_observer_sees_each_student_before_its_step_is_asked_for(made):
    student, source, measure, _ = made
    seen, asked = [], []

    def observe(t, params, buffers):
        seen.append((t, params.clone(), int(buffers["1.num_batches_tracked"])))

    def observed_source(t):
        asked.append((t, len(seen)))
        return source(t)

    plan = EpisodePlan(STEPS, trajectory=TrajectoryPlan(Binomial(2)), collapse_share=0.0)
    start = RULE.initial(student.flat_params())
    run_episode(student, RULE, observed_source, start, measure, plan, observe=observe)
    assert [(t, batches) for t, _, batches in seen] == [(t, t) for t in range(STEPS)]
    assert asked[:STEPS] == [(t, t + 1) for t in range(STEPS)]
    assert len(asked) > 2 * STEPS
    assert torch.equal(seen[0][1], start.params) and not torch.equal(seen[1][1], start.params)


def test_buffers_are_written_into_the_module(made):
    student, source, _, _ = made
    done = unroll(student, RULE, source, RULE.initial(student.flat_params()), STEPS)
    student.load_buffers(done.buffers)
    assert torch.equal(student.module[1].running_mean, done.buffers["1.running_mean"])
    assert student.module[1].running_mean.abs().max() > 0


def test_an_end_under_the_floor_is_a_collapse(made):
    student, source, measure, _ = made
    start = RULE.initial(student.flat_params())
    end = measure.value(unroll(student, RULE, source, start, STEPS).final.params)
    for floor, collapses in ((end - 1e-6, False), (end + 1e-6, True)):
        plan = EpisodePlan(STEPS, collapse_share=0.0, collapse_floor=floor)
        collapse = run_episode(student, RULE, source, start, measure, plan).collapse
        assert ("under its floor" in (collapse or "")) == collapses


def test_a_cotangent_that_grows_too_much_is_a_collapse(made):
    student, source, measure, _ = made
    start = RULE.initial(student.flat_params())
    plain = EpisodePlan(STEPS, collapse_share=0.0)
    growth = run_episode(student, RULE, source, start, measure, plain).hypergradient.growth
    for limit, collapses in ((1.01 * growth, False), (0.99 * growth, True)):
        plan = EpisodePlan(STEPS, collapse_share=0.0, growth_limit=limit)
        result = run_episode(student, RULE, source, start, measure, plan)
        assert (result.hypergradient is None) == collapses
        assert ("-fold on its way back, beyond the limit" in (result.collapse or "")) == collapses
