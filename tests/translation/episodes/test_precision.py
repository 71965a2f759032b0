"""Whether a device can run a student in bf16 is asked of the student's own layers."""

from types import SimpleNamespace

import pytest
import torch

from fairseq_dlf.core.hypergradient.student import Gradients, Point
from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.translation.episodes.precision import require_precision

POINT = Point(torch.ones(3), torch.ones(2), None, 0)
MISSING = "could not create a primitive descriptor for the LSTM forward propagation primitive\nsecond line"


def student(gradients) -> SimpleNamespace:
    def found(point):
        assert point is POINT
        return Gradients(torch.tensor(1.0), gradients(), None)

    return SimpleNamespace(gradients=found)


def test_a_student_that_runs_is_taken():
    asked = []
    require_precision(student(lambda: asked.append(1) or torch.ones(3)), POINT)
    assert asked == [1]


def test_a_missing_kernel_ends_in_advice():
    def missing():
        raise RuntimeError(MISSING)

    with pytest.raises(StateError, match="in bf16 on cpu .*LSTM forward.*: take --student-precision float32") as caught:
        require_precision(student(missing), POINT)
    assert "second line" not in str(caught.value)


def test_gradients_that_are_not_finite_end_in_advice():
    with pytest.raises(StateError, match="not finite: take --student-precision float32"):
        require_precision(student(lambda: torch.tensor([1.0, torch.nan])), POINT)
