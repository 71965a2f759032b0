"""Ways to second-order products against each other, and the guard that compares them."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.curvature import CentralDifference, Exact, ForwardDifference
from fairseq_dlf.core.hypergradient.guard import Disagreement, compare_with_exact, require_agreement
from fairseq_dlf.core.hypergradient.student import Point, Student


@pytest.fixture
def point():
    """A smooth student in float64, and a point."""
    module = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)).double()
    student = Student(module, lambda forward, phi, batch: (phi * forward(batch).square()).mean())
    return student, Point(student.flat_params(), torch.rand(3).double(), torch.rand(5, 4).double(), 0)


@pytest.mark.parametrize(("way", "limit"), [(CentralDifference(1e-4), 1e-7), (ForwardDifference(1e-6), 1e-5)])
@pytest.mark.parametrize("kept", [False, True])
def test_differences_are_the_exact_products(point, way, limit, kept):
    student, at = point
    vector = torch.randn_like(at.params)
    known = student.gradients(at, of_coefficients=True) if kept else None
    found, wanted = way.linearize(student, at, known), Exact().linearize(student, at, None)
    torch.testing.assert_close(found.gradient(), wanted.gradient(), rtol=1e-12, atol=1e-14)
    found, wanted = found.multiply(vector), wanted.multiply(vector)
    for got, want in zip(found, wanted, strict=True):
        assert want.norm() > 0
        assert (got - want).norm() <= limit * want.norm()


@pytest.mark.parametrize("way", [CentralDifference(), ForwardDifference(), Exact()], ids=lambda way: type(way).__name__)
def test_the_product_with_nothing_is_nothing(point, way):
    student, at = point
    products = way.linearize(student, at, None).multiply(torch.zeros_like(at.params))
    assert not products.hessian.any() and not products.mixed.any()
    assert products.mixed.shape == at.coefficients.shape


@pytest.mark.parametrize("way", [CentralDifference, ForwardDifference])
@pytest.mark.parametrize("step", [0.0, -1e-5, 1.0, float("nan")])
def test_refuses_a_step_out_of_range(way, step):
    with pytest.raises(ValueError, match=f"relative step of the differences is {step}.*1e-5"):
        way(step)


def test_a_linear_loss_has_no_curvature(point):
    _, at = point
    linear = torch.nn.Linear(4, 1, bias=False).double()
    student = Student(linear, lambda forward, phi, batch: forward(batch).mean())
    at = at._replace(params=student.flat_params())
    products = Exact().linearize(student, at, None).multiply(torch.ones_like(at.params))
    assert not products.hessian.any() and not products.mixed.any()
    assert products.mixed.shape == at.coefficients.shape


def test_gradients_of_a_loss_without_coefficients_are_zero(point):
    student, at = point
    blind = Student(student.module, lambda forward, phi, batch: forward(batch).square().mean())
    assert not blind.gradients(at, of_coefficients=True).coefficients.any()
    assert blind.gradients(at).coefficients is None


def test_the_guard_measures_the_error(point):
    student, at = point
    vector = torch.randn_like(at.params)
    fine = compare_with_exact(student, CentralDifference(1e-4), at, vector)
    rough = compare_with_exact(student, ForwardDifference(0.1), at, vector)
    assert fine.replay == 0.0 and max(fine) <= 1e-7
    assert rough.hessian > 0.01
    require_agreement(fine)
    with pytest.raises(RuntimeError, match=r"Hessian .*%.*take exact products"):
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


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Disagreement(0.2, 0.0, 0.0), "cannot be repeated.*20.0%.*switch the student's dropout off"),
        (Disagreement(0.0, 0.26, 0.0), "Hessian 26.0%"),
        (Disagreement(0.0, 0.0, float("nan")), "mixed nan%"),
    ],
)
def test_the_guard_says_what_is_wrong(found, words):
    with pytest.raises(RuntimeError, match=words):
        require_agreement(found)


def test_a_step_that_cannot_be_replayed_is_found(point):
    student, at = point
    draws = iter(torch.rand(99).double())
    restless = Student(student.module, lambda forward, phi, batch: (phi * forward(batch)).sum() * next(draws))
    assert compare_with_exact(restless, Exact(), at, torch.ones_like(at.params)).replay > 0.01
