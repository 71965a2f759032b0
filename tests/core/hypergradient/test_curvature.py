"""Ways to second-order products against each other."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.curvature import CentralDifference, Exact, ForwardDifference
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


@pytest.mark.parametrize("way", [CentralDifference(1e-4), ForwardDifference(1e-6)], ids=str)
def test_a_student_of_zeros_has_curvature_too(point, way):
    student, at = point
    at = at._replace(params=torch.zeros_like(at.params))
    vector = torch.randn_like(at.params)
    found, wanted = (w.linearize(student, at, None).multiply(vector) for w in (way, Exact()))
    assert wanted.hessian.norm() > 0
    assert (found.hessian - wanted.hessian).norm() <= 1e-4 * wanted.hessian.norm()


@pytest.mark.parametrize(("kept", "steps"), [(True, 1), (False, 2)])
def test_forward_differences_cost_one_step_where_gradients_are_kept(point, kept, steps):
    student, at = point
    known = student.gradients(at, of_coefficients=True) if kept else None
    runs = []
    counted = Student(student.module, lambda *inputs: runs.append(1) or student.objective(*inputs))
    here = ForwardDifference().linearize(counted, at, known)
    here.gradient()
    here.multiply(torch.ones_like(at.params))
    assert len(runs) == steps


def test_only_forward_differences_start_from_the_forward_passs_gradients():
    assert [way.reuses_gradients for way in (Exact(), CentralDifference(), ForwardDifference())] == [False, False, True]


@pytest.mark.parametrize("way", [Exact(), CentralDifference(), ForwardDifference()], ids=lambda way: type(way).__name__)
def test_products_are_taken_again_where_that_is_told(point, way):
    student, at = point
    vectors = torch.randn(3, len(at.params), dtype=torch.float64)
    here = way.linearize(student, at, None)
    found = [here.multiply(vector, again=True) for vector in vectors[:2]] + [here.multiply(vectors[2])]
    for vector, products in zip(vectors, found, strict=True):
        wanted = way.linearize(student, at, None).multiply(vector)
        assert wanted.mixed.norm() > 0
        assert torch.equal(products.hessian, wanted.hessian) and torch.equal(products.mixed, wanted.mixed)


def test_the_graph_of_exact_products_is_freed_unless_they_are_taken_again(point):
    student, at = point
    here = Exact().linearize(student, at, None)
    here.multiply(torch.ones_like(at.params))
    with pytest.raises(RuntimeError, match="second time"):
        here.multiply(torch.ones_like(at.params))
