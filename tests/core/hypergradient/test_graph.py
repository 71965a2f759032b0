"""The graph of one gradient: what it gives, and what it holds."""

import gc
import weakref

import pytest
import torch

from fairseq_dlf.core.hypergradient.graph import graph_bytes, graph_of
from fairseq_dlf.core.hypergradient.student import Point, Student

CASES = ["lstm", "attention"]


def at(made):
    return made.source(0).at(made.student.flat_params())


@pytest.mark.parametrize("arch", CASES)
def test_it_has_the_loss_and_gradient_of_the_student_to_the_last_bit(episode, arch):
    made = episode(arch, steps=1)
    wanted = made.student.gradients(at(made))
    found = graph_of(made.student, at(made))
    assert torch.equal(found.loss, wanted.loss) and torch.equal(found.gradient(), wanted.params)
    assert not found.loss.requires_grad and not found.gradient().requires_grad


@pytest.mark.parametrize("arch", CASES)
def test_products_need_no_values_of_the_gradient(episode, arch):
    made = episode(arch, steps=1)
    cotangents = made.student.pieces(torch.randn_like(at(made).params))
    wanted = graph_of(made.student, at(made)).products(cotangents)
    bare = graph_of(made.student, at(made)).without_values()
    assert sum(piece.untyped_storage().nbytes() for piece in bare.gradients) <= 8 * len(bare.gradients)
    found = bare.products(cotangents)
    assert torch.equal(found.hessian, wanted.hessian) and torch.equal(found.mixed, wanted.mixed)
    assert wanted.hessian.norm() > 0 and wanted.mixed.norm() > 0


def squared(rows):
    """A student with the loss Σ φ · tanh(W x)² of so many rows, and a point, in float32."""
    torch.manual_seed(1)
    module = torch.nn.Linear(30, 40, bias=False)
    student = Student(module, lambda forward, phi, batch: (phi * forward(batch).tanh().square()).sum())
    return student, Point(student.flat_params(), torch.ones(40), torch.rand(rows, 30), 0)


def test_the_bytes_of_a_graph_grow_by_those_of_its_rows():
    sizes = [graph_bytes(*squared(rows)) for rows in (10, 20, 30)]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0]
    # A row of the input, and a few of the output's size: tanh, its derivative, their products with Φ.
    a_row = (sizes[1] - sizes[0]) / 10 / 4 - 30
    assert a_row % 40 == 0 and 2 <= a_row / 40 <= 8


def test_the_bytes_leave_out_the_parameters_and_the_values_that_are_not_kept():
    student, point = squared(1)
    with_gradient, without = (graph_bytes(student, point, kept) for kept in (True, False))
    assert with_gradient - without == point.params.nbytes - 4
    # The parameters are 4,800 bytes themselves.
    assert 0 < without < 3000


def test_a_measured_graph_is_gone_afterwards():
    student, point = squared(10)
    plain, seen = student.objective, []

    def objective(forward, phi, batch):
        def watched(*given):
            scores = forward(*given)
            seen.append(weakref.ref(scores))
            return scores

        return plain(watched, phi, batch)

    student.objective = objective
    gc.disable()
    try:
        assert graph_bytes(student, point) > 0
        assert len(seen) == 1 and seen[0]() is None
    finally:
        gc.enable()
