"""Comparison of a way to second-order products with the exact one, on the student at hand."""

import math
from typing import NamedTuple

from torch import Tensor

from fairseq_dlf.core.hypergradient.curvature import Curvature, Exact
from fairseq_dlf.core.hypergradient.probe import twice_differentiable
from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.support.errors import StateError

LIMIT = 0.05


class Disagreement(NamedTuple):
    """Relative errors ‖found − exact‖ / ‖exact‖ of one step.

    Attributes:
        replay: of the gradient computed again, against that of the forward pass; anything
            but rounding means that the step cannot be repeated.
        hessian: of (∂²L/∂ω²) a.
        mixed: of (∂²L/∂Φ∂ω) a.
    """

    replay: float
    hessian: float
    mixed: float


def compare_with_exact(student: Student, curvature: Curvature, point: Point, vector: Tensor) -> Disagreement:
    """Measure how far the products of `curvature` are from exact ones in full precision.

    Args:
        student: as in episodes; the exact products are taken without its forward context,
            so that the error of autocast is part of what is found.
        vector: a, (parameters,).

    Cost: one exact product, one of `curvature`, two gradients.
    """
    known, again = (student.gradients(point, of_coefficients=True) for _ in range(2))
    found = curvature.linearize(student, point, known).multiply(vector)
    exact = Exact().linearize(student.within(twice_differentiable), point, None).multiply(vector)
    return Disagreement(
        _relative_error(again.params, known.params),
        _relative_error(found.hessian, exact.hessian),
        _relative_error(found.mixed, exact.mixed),
    )


def rounding_error(student: Student, point: Point, precise: Point) -> float:
    """Measure how far exact products in a student's precision are from those in float64, as a relative error.

    Args:
        point: where they are taken, in the student's precision and on its device.
        precise: the same point in float64 on the CPU.

    Returns:
        The greater of the errors of (∂²L/∂ω²) a and (∂²L/∂Φ∂ω) a, for a along the gradient.

    Cost: two exact products and a gradient.
    """
    double = student.in_double()
    gradient = double.gradients(precise).params
    # Of norm 1, since the gradient of a flat loss may be too small for float32.
    vector = gradient / gradient.norm().clamp(min=1e-300)
    found = Exact().linearize(student, point, None).multiply(vector.to(point.params))
    wanted = Exact().linearize(double, precise, None).multiply(vector)
    return max(_relative_error(mine.to(other), other) for mine, other in zip(found, wanted, strict=True))


def require_agreement(found: Disagreement, limit: float = LIMIT) -> None:
    """Raise StateError, with advice, where the products are further off than `limit`."""
    if not found.replay <= limit:
        raise StateError(
            f"a student step cannot be repeated: its gradient differs by {found.replay:.1%} when computed again "
            "from the same seed, so that the reverse pass would go through another network; a layer draws random "
            "numbers of its own, as cuDNN's dropout between LSTM layers does: switch the student's dropout off",
            setting="dropout",
        )
    if not (found.hessian <= limit and found.mixed <= limit):
        raise StateError(
            f"second-order products are off (Hessian {found.hessian:.1%}, mixed "
            f"{found.mixed:.1%}; limit {limit:.0%}): take exact products, another step of the differences, "
            "float32, or a student without kinks (gelu instead of relu)",
            setting="curvature",
        )


def _relative_error(found: Tensor, wanted: Tensor) -> float:
    """Return ‖found − wanted‖ / ‖wanted‖; 0 where both are 0."""
    difference, length = float((found - wanted).norm()), float(wanted.norm())
    if length == 0.0:
        return 0.0 if difference == 0.0 else math.inf
    return difference / length
