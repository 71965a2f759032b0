"""Ways to Hessian-vector and mixed products of the student's loss, the costly part of the reverse pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.student import Gradients, Point, Student, joined
from fairseq_dlf.core.support.errors import InputError


class Products(NamedTuple):
    """Second-order products with one vector a, summed over workers.

    Attributes:
        hessian: (∂²L/∂ω²) a, (parameters,).
        mixed: (∂²L/∂Φ∂ω) a, (coefficients,).
    """

    hessian: Tensor
    mixed: Tensor


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

    Cost: about three training steps for gradient and products together; the memory of
    one step's graph and of its derivative, of one micro-batch at a time. Every layer must have a
    second derivative: no fused attention, no cuDNN RNN.
    Paper: Eqs 4 and 5.
    """

    reuses_gradients: bool = False

    def linearize(self, student: Student, point: Point, known: Gradients | None) -> Linearization:
        parts = student.parts(point)
        if len(parts) == 1:
            graph = _graph_of(student, parts[0])
            return Linearization(
                lambda: student.combine(joined([g.detach() for g in graph.gradients])),
                lambda vector, again=False: _combined(student, graph.products(student.pieces(vector), again), point),
            )

        def multiply(vector: Tensor, again: bool = False) -> Products:
            cotangents = student.pieces(vector)
            each = (_graph_of(student, part).products(cotangents) for part in parts)
            return _combined(student, reduce(_sum_of, each), point)

        return Linearization(lambda: (known or student.gradients(point)).params, multiply)


class _Graph(NamedTuple):
    """The gradient of a micro-batch with its graph.

    Attributes:
        pieces: ω, leaves.
        coefficients: Φ, a leaf.
        gradients: ∂L/∂ω in pieces.
    """

    pieces: list[Tensor]
    coefficients: Tensor
    gradients: Sequence[Tensor]

    def products(self, cotangents: Sequence[Tensor], again: bool = False) -> Products | None:
        """Return the products with a vector in pieces, on this worker; None if the gradient is constant."""
        # A gradient that depends on nothing, such as an unused parameter's, has no graph.
        moving = [place for place, gradient in enumerate(self.gradients) if gradient.requires_grad]
        if not moving:
            return None
        # A loss that is all cross-entropy does not depend on Φ: zeros, not an error.
        *hessian, mixed = torch.autograd.grad(
            [self.gradients[place] for place in moving],
            [*self.pieces, self.coefficients],
            grad_outputs=[cotangents[place] for place in moving],
            retain_graph=again,
            materialize_grads=True,
        )
        return Products(joined(hessian), mixed)


def _graph_of(student: Student, part: Point) -> _Graph:
    pieces = [piece.requires_grad_() for piece in student.pieces(part.params.detach())]
    coefficients = part.coefficients.detach().requires_grad_()
    with torch.enable_grad():
        loss = student.loss_of_pieces(pieces, part._replace(coefficients=coefficients))
        gradients = torch.autograd.grad(loss, pieces, create_graph=True, materialize_grads=True)
    return _Graph(pieces, coefficients, gradients)


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
