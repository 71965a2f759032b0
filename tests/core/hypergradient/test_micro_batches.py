"""Students whose batches are cut into micro-batches: the same gradients, products and hypergradients."""

import pytest
import torch

from fairseq_dlf.core.hypergradient.curvature import CentralDifference, Exact, ForwardDifference
from fairseq_dlf.core.hypergradient.schedules import Checkpoints, Everything
from fairseq_dlf.core.hypergradient.student import Point, Student
from tests.core.hypergradient.conftest import token_loss
from tests.core.hypergradient.ladder import RULES, by_autograd, by_reverse, relative_error

PARTS = 3


def weighted(forward, coefficients, batch):
    """The loss of some rows, weighted by their share of the whole batch, so that parts add up."""
    tokens, rows = batch
    return token_loss(forward, coefficients, tokens) * len(tokens) / rows


def cut(batch):
    tokens, rows = batch
    return [(part, rows) for part in tokens.tensor_split(PARTS) if len(part)]


def in_parts(made, split=cut):
    """The same episode with its batches cut, and with a student that takes them whole."""
    source = lambda t, *more: (step := made.source(t, *more))._replace(batch=(step.batch, len(step.batch)))  # noqa: E731
    whole = Student(made.student.module, weighted, made.student.forward_context)
    return made._replace(student=whole.in_parts(split), source=source), made._replace(student=whole, source=source)


@pytest.fixture(params=["lstm", "attention"])
def both(request, episode):
    return in_parts(episode(request.param, steps=5, dropout=0.0))


def at(made, t=0):
    return made.source(t).at(made.student.flat_params())


def test_gradients_are_those_of_the_whole_batch(both):
    parts, whole = both
    assert len(parts.student.parts(at(parts))) == PARTS
    found, wanted = (made.student.gradients(at(made), of_coefficients=True) for made in both)
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-14)
    assert parts.student.gradients(at(parts)).coefficients is None
    torch.testing.assert_close(parts.student.loss(at(parts)), whole.student.loss(at(whole)))


@pytest.mark.parametrize("way", [Exact(), Exact(reuses_gradients=True), CentralDifference(1e-4)], ids=str)
@pytest.mark.parametrize("kept", [False, True])
def test_products_are_those_of_the_whole_batch(both, way, kept):
    vector = torch.randn_like(both[0].student.flat_params())
    known = [made.student.gradients(at(made), of_coefficients=True) if kept else None for made in both]
    found, wanted = (
        way.linearize(made.student, at(made), gradients) for made, gradients in zip(both, known, strict=True)
    )
    torch.testing.assert_close(found.gradient(), wanted.gradient(), rtol=1e-10, atol=1e-14)
    for mine, other in zip(found.multiply(vector), wanted.multiply(vector), strict=True):
        assert other.norm() > 0
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12 if isinstance(way, Exact) else 1e-8)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_hypergradient_is_that_of_autograd_through_the_unroll(episode, rule, dropout):
    """With dropout, too: each part draws masks of its own, in the reverse pass the same."""
    parts, _ = in_parts(episode("lstm", steps=5, dropout=dropout))
    parts = parts._replace(measure=lambda params: -params.tanh().square().sum())
    wanted = by_autograd(parts, rule)
    for curvature in (Exact(), Exact(reuses_gradients=True)):
        for schedule in (Everything(), Checkpoints(2)):
            found = by_reverse(parts, rule, schedule, curvature=curvature).coefficients
            assert relative_error(found, wanted) <= 1e-10


def test_masks_differ_between_parts_and_are_those_of_the_seed(episode):
    parts, _ = in_parts(episode("lstm", steps=1, dropout=0.5))
    point = at(parts)
    seeds = [part.seed for part in parts.student.parts(point)]
    assert seeds[0] == point.seed and len(set(seeds)) == PARTS
    first, again = (parts.student.gradients(point) for _ in range(2))
    assert torch.equal(first.params, again.params)
    other = parts.student.gradients(point._replace(seed=point.seed + 1))
    assert not torch.equal(first.params, other.params)


def test_the_graph_of_one_part_is_held_at_a_time(episode, monkeypatch):
    """Tensors that the graphs keep, at the moment when a new part begins."""
    parts, _ = in_parts(episode("lstm", steps=1, dropout=0.0))
    kept, alive, most = [], [0], []

    class Kept:
        def __init__(self, tensor):
            self.tensor = tensor
            alive[0] += 1

        def __del__(self):
            alive[0] -= 1

    plain = Student.loss_of_pieces

    def watched(self, *given, **named):
        most.append(alive[0])
        return plain(self, *given, **named)

    monkeypatch.setattr(Student, "loss_of_pieces", watched)
    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        products = Exact().linearize(parts.student, at(parts), None).multiply(torch.ones_like(at(parts).params))
    kept.append(products)
    assert len(most) == PARTS and most == [0] * PARTS


def test_a_part_without_a_graph_adds_nothing():
    linear = torch.nn.Linear(4, 1, bias=False).double()
    student = Student(linear, lambda forward, phi, batch: forward(batch).sum()).in_parts(lambda batch: batch.split(2))
    point = Point(student.flat_params(), torch.ones(3).double(), torch.rand(5, 4).double(), 0)
    products = Exact().linearize(student, point, None).multiply(torch.ones_like(point.params))
    assert not products.hessian.any() and products.mixed.shape == (3,)


def test_other_contexts_keep_the_parts(both):
    parts, _ = both
    assert len(parts.student.within(lambda: torch.no_grad()).parts(at(parts))) == PARTS
    found = ForwardDifference().linearize(parts.student, at(parts), None).gradient()
    torch.testing.assert_close(found, parts.student.gradients(at(parts)).params)
