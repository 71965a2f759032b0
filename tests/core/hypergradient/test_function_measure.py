"""A measure from one function: its value and its slope."""

import torch

from fairseq_dlf.core.hypergradient.function_measure import FunctionMeasure


def test_value_and_cotangent_are_those_of_the_function():
    params = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    measure = FunctionMeasure(lambda each: each.square().sum())
    assert measure.value(params) == 14.0
    with torch.no_grad():
        found = measure.value_and_cotangent(params)
    assert found.value == 14.0 and found.cotangent.tolist() == [2.0, -4.0, 6.0]
    assert not found.cotangent.requires_grad and params.grad is None
