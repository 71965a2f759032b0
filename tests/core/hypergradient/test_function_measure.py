"""A measure from one function: its value and its slope."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.function_measure import FunctionMeasure
from fairseq_dlf.core.hypergradient.student import Student


def test_value_and_cotangent_are_those_of_the_function():
    params = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    measure = FunctionMeasure(lambda each: each.square().sum())
    assert measure.value(params) == 14.0
    with torch.no_grad():
        found = measure.value_and_cotangent(params)
    assert found.value == 14.0 and found.cotangent.tolist() == [2.0, -4.0, 6.0]
    assert not found.cotangent.requires_grad and params.grad is None


def test_a_measure_of_a_student_runs_its_module_with_the_parameters_that_are_measured():
    points = torch.rand(4, 2)
    student = Student(torch.nn.Linear(2, 1), lambda forward, phi, batch: phi * forward(batch).mean())
    measure = FunctionMeasure.of(student, lambda forward: forward(points).square().sum())
    params = torch.tensor([0.5, -1.0, 0.25])
    outputs = points @ params[:2] + params[2]
    assert measure.value(params) == pytest.approx(float(outputs.square().sum()))
    slope = torch.cat([2 * outputs @ points, 2 * outputs.sum().unsqueeze(0)])
    torch.testing.assert_close(measure.value_and_cotangent(params).cotangent, slope)
