"""The forward pass: what it reports, keeps and shows, and that it can be run in parts."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.curvature import Exact
from fairseq_dlf.core.hypergradient.reverse import reverse
from fairseq_dlf.core.hypergradient.schedules import Binomial, Everything
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.hypergradient.trajectory import TrajectoryPlan
from fairseq_dlf.core.hypergradient.unroll import Step, unroll
from fairseq_dlf.core.hypergradient.update_rules import SGD

RULE = SGD(momentum=0.9)


def test_a_step_is_a_point_of_its_student():
    step = Step(torch.ones(2), "batch", 7, 0.5)
    params = torch.zeros(3)
    assert step.at(params) == Point(params, step.coefficients, "batch", 7)


def quadratic(phi=2.0, rate=0.25, start=3.0):
    """One parameter with the loss φω²/2, and its source of steps."""
    module = torch.nn.Linear(1, 1, bias=False).double()
    torch.nn.init.constant_(module.weight, start)
    student = Student(module, lambda forward, phi, batch: (phi * forward(batch).square()).sum() / 2)
    one, phis = torch.ones(1, dtype=torch.float64), torch.full((1,), phi, dtype=torch.float64)
    return student, lambda t: Step(phis, one, t, rate)


def test_losses_are_those_before_each_update():
    student, source = quadratic()
    rule = SGD()
    done = unroll(student, rule, source, rule.initial(student.flat_params()), 3)
    assert done.losses.tolist() == [9.0, 2.25, 0.5625]
    assert done.final.params.item() == 0.375


class Log:
    def __init__(self):
        self.done, self.reached = [], []

    def forward(self, done):
        self.done.append(done)

    def reverse(self, step, norm):
        self.reached.append((step, norm))


@pytest.mark.parametrize("schedule", [Everything(), Binomial(1)], ids=str)
def test_a_watch_is_told_of_every_step(schedule):
    """ω halves with each update, and so does the cotangent on its way back."""
    student, source = quadratic()
    rule, log, trajectory = SGD(), Log(), TrajectoryPlan(schedule).open(0, 3)
    start = rule.initial(student.flat_params())
    unroll(student, rule, source, start, 3, trajectory=trajectory, watch=log)
    reverse(student, rule, source, trajectory, Exact(), torch.full_like(start.params, 8.0), watch=log)
    assert log.done == [1, 2, 3]
    assert log.reached == [(2, 4.0), (1, 2.0), (0, 1.0)]


def test_a_run_in_two_parts_is_the_run_in_one(normalised):
    steps = normalised.steps
    student, source, _, _ = normalised
    start = RULE.initial(student.flat_params())
    whole = unroll(student, RULE, source, start, steps)
    head = unroll(student, RULE, source, start, 2)
    kept = {name: buffer.clone() for name, buffer in head.buffers.items()}
    tail = unroll(student, RULE, source, head.final, steps - 2, buffers=head.buffers, first=2)
    assert torch.equal(tail.final.params, whole.final.params)
    assert torch.equal(torch.cat([head.losses, tail.losses]), whole.losses)
    for name, buffer in whole.buffers.items():
        assert torch.equal(tail.buffers[name], buffer), name
        assert torch.equal(head.buffers[name], kept[name]), name


def test_the_observer_sees_each_student_before_its_step_is_asked_for(normalised):
    steps = normalised.steps
    student, source, _, _ = normalised
    seen, asked = [], []

    def observe(t, params, buffers):
        seen.append((t, params.clone(), int(buffers["1.num_batches_tracked"])))

    def observed_source(t):
        asked.append((t, len(seen)))
        return source(t)

    start = RULE.initial(student.flat_params())
    unroll(student, RULE, observed_source, start, steps, observe=observe)
    assert [(t, batches) for t, _, batches in seen] == [(t, t) for t in range(steps)]
    assert asked[:steps] == [(t, t + 1) for t in range(steps)]
    assert len(asked) == steps
    assert torch.equal(seen[0][1], start.params) and not torch.equal(seen[1][1], start.params)


def test_buffers_are_written_into_the_module(normalised):
    steps = normalised.steps
    student, source, _, _ = normalised
    done = unroll(student, RULE, source, RULE.initial(student.flat_params()), steps)
    student.load_buffers(done.buffers)
    assert torch.equal(student.module[1].running_mean, done.buffers["1.running_mean"])
    assert student.module[1].running_mean.abs().max() > 0
