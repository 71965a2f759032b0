"""The student as a function of a point: its seed, its workers, what it refuses."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.support.errors import InputError


@pytest.fixture
def small():
    """A smooth student in float64, and a point."""
    module = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)).double()
    student = Student(module, lambda forward, phi, batch: (phi * forward(batch).square()).mean())
    return student, Point(student.flat_params(), torch.rand(3).double(), torch.rand(5, 4).double(), 0)


def test_a_student_in_double_is_a_copy(small):
    student, at = small
    plain = Student(student.module.float(), student.objective)
    double = plain.in_double()
    assert double.flat_params().dtype == torch.float64 and plain.flat_params().dtype == torch.float32
    assert torch.equal(double.flat_params().float(), plain.flat_params())
    wanted = plain.gradients(Point(*(tensor.float() for tensor in at[:3]), 0)).params
    torch.testing.assert_close(double.gradients(at).params.float(), wanted, rtol=1e-3, atol=1e-5)


def test_gradients_of_a_loss_without_coefficients_are_zero(small):
    student, at = small
    blind = Student(student.module, lambda forward, phi, batch: forward(batch).square().mean())
    assert not blind.gradients(at, of_coefficients=True).coefficients.any()
    assert blind.gradients(at).coefficients is None


def test_loss_and_gradients_are_summed_over_workers(small):
    student, at = small
    shared = Student(student.module, student.objective, combine=lambda tensor: 2 * tensor)
    for found, alone in zip(shared.gradients(at, True), student.gradients(at, True), strict=True):
        assert alone.norm() > 0 and torch.equal(found, 2 * alone)


def test_dropout_changes_the_gradient_and_its_seed_fixes_it(episode):
    made = episode("lstm", steps=2)
    step = made.source(0)
    params = made.student.flat_params()
    first = made.student.gradients(step.at(params)).params
    again = made.student.gradients(step.at(params)).params
    other = made.student.gradients(step._replace(seed=step.seed + 1).at(params)).params
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_step_leaves_the_random_numbers_of_the_caller_alone(episode):
    made = episode("lstm", steps=1)
    torch.manual_seed(11)
    wanted = torch.rand(3)
    torch.manual_seed(11)
    made.student.gradients(made.source(0).at(made.student.flat_params()))
    assert torch.equal(torch.rand(3), wanted)


def test_a_student_without_parameters_is_refused():
    module = torch.nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(InputError, match="no trainable parameters"):
        Student(module, lambda forward, phi, batch: forward(batch).sum())
