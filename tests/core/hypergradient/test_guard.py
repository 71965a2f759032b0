"""The guard that compares products with exact ones."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.curvature import (
    CentralDifference,
    Exact,
    ForwardDifference,
    Linearization,
    Products,
)
from fairseq_dlf.core.hypergradient.guard import (
    Disagreement,
    _relative_error,
    compare_with_exact,
    require_agreement,
    rounding_error,
)
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.support.errors import StateError


@pytest.fixture
def point():
    """A smooth student in float64, and a point."""
    module = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)).double()
    student = Student(module, lambda forward, phi, batch: (phi * forward(batch).square()).mean())
    return student, Point(student.flat_params(), torch.rand(3).double(), torch.rand(5, 4).double(), 0)


def test_the_guard_measures_the_error(point):
    student, at = point
    vector = torch.randn_like(at.params)
    fine = compare_with_exact(student, CentralDifference(1e-4), at, vector)
    rough = compare_with_exact(student, ForwardDifference(0.1), at, vector)
    assert fine.replay == 0.0 and max(fine) <= 1e-7
    assert rough.hessian > 0.01
    require_agreement(fine)
    with pytest.raises(StateError, match=r"Hessian .*%.*take exact products"):
        require_agreement(rough, limit=0.01)


def test_the_guard_sees_autocast(point):
    student, at = point
    student, at = Student(student.module.float(), student.objective), Point(*(t.float() for t in at[:3]), 0)
    vector = torch.randn_like(at.params)
    half = student.within(lambda: torch.autocast("cpu", dtype=torch.bfloat16))
    plain, coarse = (compare_with_exact(s, Exact(), at, vector) for s in (student, half))
    assert plain.hessian <= 1e-6
    assert 1e-4 < coarse.hessian < 0.1
    assert half.gradients(at).params.dtype == torch.float32


def test_rounding_is_measured_against_float64(point):
    student, precise = point
    at = Point(*(tensor.float() for tensor in precise[:3]), 0)
    precise = Point(*(tensor.double() for tensor in at[:3]), 0)
    plain = Student(student.module.float(), student.objective)
    assert 1e-9 < rounding_error(plain, at, precise) < 1e-5
    half = plain.within(lambda: torch.autocast("cpu", dtype=torch.bfloat16))
    assert 1e-4 < rounding_error(half, at, precise) < 0.1
    assert rounding_error(plain.in_double(), precise, precise) == 0.0


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Disagreement(0.2, 0.0, 0.0), "cannot be repeated.*20.0%.*switch the student's dropout off"),
        (Disagreement(0.0, 0.26, 0.0), "Hessian 26.0%"),
        (Disagreement(0.0, 0.0, float("nan")), "mixed nan%"),
    ],
)
def test_the_guard_says_what_is_wrong(found, words):
    with pytest.raises(StateError, match=words):
        require_agreement(found)


def test_a_step_that_cannot_be_replayed_is_found(point):
    student, at = point
    draws = iter(torch.rand(99).double())
    restless = Student(student.module, lambda forward, phi, batch: (phi * forward(batch)).sum() * next(draws))
    assert compare_with_exact(restless, Exact(), at, torch.ones_like(at.params)).replay > 0.01


class Stretched(Exact):
    """Exact products times known factors."""

    def linearize(self, student, point, known):
        plain = super().linearize(student, point, known)

        def multiply(vector):
            products = plain.multiply(vector)
            return Products(1.25 * products.hessian, 0.5 * products.mixed)

        return Linearization(plain.gradient, multiply)


@pytest.mark.parametrize("length", [1e-3, 1.0, 1e3])
def test_errors_are_relative(point, length):
    student, at = point
    found = compare_with_exact(student, Stretched(), at, torch.full_like(at.params, length))
    assert found == pytest.approx((0.0, 0.25, 0.5), rel=1e-9)


@pytest.mark.parametrize(
    ("found", "wanted", "error"),
    [([0.0, 0.0], [0.0, 0.0], 0.0), ([1.0, 0.0], [0.0, 0.0], float("inf")), ([3.0, 0.0], [0.0, 4.0], 1.25)],
)
def test_the_error_is_relative_to_what_is_exact(found, wanted, error):
    assert _relative_error(torch.tensor(found), torch.tensor(wanted)) == error
