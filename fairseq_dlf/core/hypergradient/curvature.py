"""Ways to Hessian-vector and mixed products of the student's loss, the costly part of the reverse pass."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.graph import GradientGraph, Products, graph_of
from fairseq_dlf.core.hypergradient.student import Buffers, Gradients, Point, Student
from fairseq_dlf.core.support.errors import InputError


class Multiply(Protocol):
    """The derivative of the student's gradient at one point."""

    def __call__(self, vector: Tensor, again: bool = False) -> Products:
        """Return the products with a vector a, (parameters,).

        Args:
            again: whether another call will follow, for which the graph is kept.
        """


class Linearization(NamedTuple):
    """The student's gradient at one point, and its derivative there.

    Attributes:
        gradient: gives g = ∂L_Φ/∂ω, (parameters,); computed where it is not known yet.
        multiply: maps a vector a to its products; may be called once more after each call with `again`.
    """

    gradient: Callable[[], Tensor]
    multiply: Multiply


class Curvature(Protocol):
    """A way to get second-order products.

    Attributes:
        reuses_gradients: whether the gradients of the forward pass are worth keeping.
    """

    @property
    def reuses_gradients(self) -> bool: ...

    def linearize(self, student: Student, point: Point, known: Gradients | None) -> Linearization:
        """Return the gradient at (ω, Φ) and its derivative.

        Args:
            known: the gradients at this very point, where the forward pass has kept them.
        """


@dataclass(frozen=True)
class Exact:
    """Products by double backward.

    Attributes:
        reuses_gradients: whether the gradients of the forward pass are kept, for update rules that need the
            gradient before the products, of students whose batches are cut into micro-batches: with one graph at a
            time, it would be computed again.

    Cost: about three training steps for gradient and products together, two for a step whose graph the forward pass
    has kept (`linearize_forward`); the memory of one step's graph and of its derivative, of one micro-batch at a time.
    Every layer must have a second derivative: no fused attention, no cuDNN RNN.
    Paper: Eqs 4 and 5.
    """

    reuses_gradients: bool = False

    def linearize(self, student: Student, point: Point, known: Gradients | None) -> Linearization:
        parts = student.parts(point)
        if len(parts) == 1:
            return _linearization(student, point, graph_of(student, parts[0]))

        def multiply(vector: Tensor, again: bool = False) -> Products:
            cotangents = student.pieces(vector)
            each = (graph_of(student, part).products(cotangents) for part in parts)
            return _combined(student, reduce(_sum_of, each), point)

        return Linearization(lambda: (known or student.gradients(point)).params, multiply)


def linearize_forward(
    student: Student, point: Point, buffers: Buffers, keeps_gradient: bool
) -> tuple[Gradients, Linearization]:
    """Return loss and gradient at a point of the forward pass, and their exact derivative, from one graph.

    It is as `Student.gradients` followed by `Exact.linearize`, but the forward and the first backward are not computed
    twice.

    Args:
        buffers: as in `Student.run`; the graph may refer to them, so they must not be changed afterwards.
        keeps_gradient: whether the linearisation will be asked for the gradient; if not, it keeps no values of it.

    Raises:
        InputError: the batch is cut into micro-batches.

    Cost: a training step whose gradient has a graph, and the memory of this graph (`graph_bytes`) until the products
    are taken, which cost about two training steps.
    """
    parts = student.parts(point)
    if len(parts) > 1:
        raise InputError(
            f"the graph of a step is to be kept, but its batch is cut into {len(parts)} micro-batches so that one "
            "graph is held at a time: keep no graphs, or leave batches whole",
            setting="graphs",
        )
    graph = graph_of(student, parts[0], buffers)
    gradients = Gradients(student.combine(graph.loss), student.combine(graph.gradient()), None)
    return gradients, _linearization(student, point, graph if keeps_gradient else graph.without_values())


def _linearization(student: Student, point: Point, graph: GradientGraph) -> Linearization:
    return Linearization(
        lambda: student.combine(graph.gradient()),
        lambda vector, again=False: _combined(student, graph.products(student.pieces(vector), again), point),
    )


def _sum_of(one: Products | None, other: Products | None) -> Products | None:
    if one is None or other is None:
        return one or other
    return Products(one.hessian.add_(other.hessian), one.mixed.add_(other.mixed))


def _combined(student: Student, found: Products | None, point: Point) -> Products:
    found = found or _no_products(point)
    return Products(student.combine(found.hessian), student.combine(found.mixed))


# Measured on LSTM and GELU Transformer in float32: one-sided differences err by more for a
# long step, so theirs is shorter.
CENTRAL_STEP, FORWARD_STEP = 1e-5, 2e-6


@dataclass(frozen=True)
class CentralDifference:
    """Products from the gradients at ω ± εa, with ε = relative_step · ‖ω‖ / ‖a‖.

    Cost: two training steps, and one more where the update rule needs the gradient; the
    memory of one step. No second derivatives, so fused kernels stay on. Wrong for
    students with kinks, such as ReLU.
    """

    relative_step: float = CENTRAL_STEP

    def __post_init__(self) -> None:
        _require_step(self.relative_step)

    reuses_gradients = False

    def linearize(self, student: Student, point: Point, known: Gradients | None) -> Linearization:
        def multiply(vector: Tensor, again: bool = False) -> Products:
            step = _step_along(vector, point.params, self.relative_step)
            if step == 0.0:
                return _no_products(point)
            ahead, behind = (student.gradients(_moved(point, vector, e), of_coefficients=True) for e in (step, -step))
            return _quotient(ahead, behind, 2.0 * step)

        return Linearization(lambda: student.gradients(point).params, multiply)


@dataclass(frozen=True)
class ForwardDifference:
    """Products from the gradient at ω + εa and the forward pass's own.

    Cost: one training step where the forward pass has kept its gradients, two where not;
    the memory of one step, and one more student copy for each kept step. As inexact as
    one-sided differences are; else as `CentralDifference`.
    """

    relative_step: float = FORWARD_STEP

    def __post_init__(self) -> None:
        _require_step(self.relative_step)

    reuses_gradients = True

    def linearize(self, student: Student, point: Point, known: Gradients | None) -> Linearization:
        here = known or student.gradients(point, of_coefficients=True)

        def multiply(vector: Tensor, again: bool = False) -> Products:
            step = _step_along(vector, point.params, self.relative_step)
            if step == 0.0:
                return _no_products(point)
            ahead = student.gradients(_moved(point, vector, step), of_coefficients=True)
            return _quotient(ahead, here, step)

        return Linearization(lambda: here.params, multiply)


def _require_step(relative_step: float) -> None:
    if not 0.0 < relative_step < 1.0:
        raise InputError(
            f"the relative step of the differences is {relative_step}, but must lie in (0, 1); 1e-5 (central) and "
            "2e-6 (forward) suit float32",
            setting="relative_step",
        )


def _no_products(point: Point) -> Products:
    return Products(torch.zeros_like(point.params), torch.zeros_like(point.coefficients))


def _moved(point: Point, vector: Tensor, distance: float) -> Point:
    return point._replace(params=torch.add(point.params, vector, alpha=distance))


def _step_along(vector: Tensor, params: Tensor, relative_step: float) -> float:
    """Return ε = relative_step · ‖ω‖ / ‖a‖, 0 where a is 0. An ω of zeros counts as one of norm 1."""
    length = float(vector.norm())
    return relative_step * (float(params.norm()) or 1.0) / length if length > 0.0 else 0.0


def _quotient(ahead: Gradients, behind: Gradients, distance: float) -> Products:
    assert ahead.coefficients is not None and behind.coefficients is not None
    # In place: `ahead` is ours alone, and each pass over ω costs memory bandwidth.
    hessian = ahead.params.sub_(behind.params).div_(distance)
    return Products(hessian, ahead.coefficients.sub_(behind.coefficients).div_(distance))
