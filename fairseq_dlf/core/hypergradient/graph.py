"""The graph of the student's gradient at one point: exact products come from it, and it takes memory."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.student import Buffers, Point, Student, joined


class Products(NamedTuple):
    """Second-order products with one vector a, summed over workers.

    Attributes:
        hessian: (∂²L/∂ω²) a, (parameters,).
        mixed: (∂²L/∂Φ∂ω) a, (coefficients,).
    """

    hessian: Tensor
    mixed: Tensor


class GradientGraph(NamedTuple):
    """The loss of a micro-batch and its gradient with the gradient's graph, on this worker.

    Attributes:
        loss: L_Φ(ω), a scalar without a graph.
        pieces: ω, leaves.
        coefficients: Φ, a leaf.
        gradients: ∂L/∂ω in pieces.
    """

    loss: Tensor
    pieces: list[Tensor]
    coefficients: Tensor
    gradients: Sequence[Tensor]

    def gradient(self) -> Tensor:
        """Return ∂L/∂ω, (parameters,), without a graph."""
        return joined([piece.detach() for piece in self.gradients])

    def products(self, cotangents: Sequence[Tensor], again: bool = False) -> Products | None:
        """Return the products with a vector in pieces; None if the gradient is constant.

        Args:
            again: whether another call will follow; if not, the graph is used up.
        """
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

    def without_values(self) -> "GradientGraph":
        """Return the same graph with gradients that have no values, and take no memory: for the products alone."""
        with torch.enable_grad():
            return self._replace(gradients=[_WithoutValues.apply(piece) for piece in self.gradients])


def graph_of(student: Student, part: Point, buffers: Buffers | None = None) -> GradientGraph:
    """Return loss and gradient at a point, whose batch is not cut any further, with the gradient's graph.

    Args:
        buffers: as in `Student.run`; the graph may refer to them.

    Cost: a training step's forward and backward, and the memory of both.
    """
    pieces = [piece.requires_grad_() for piece in student.pieces(part.params.detach())]
    coefficients = part.coefficients.detach().requires_grad_()
    with torch.enable_grad():
        loss = student.loss_of_pieces(pieces, part._replace(coefficients=coefficients), buffers)
        gradients = torch.autograd.grad(loss, pieces, create_graph=True, materialize_grads=True)
    return GradientGraph(loss.detach(), pieces, coefficients, gradients)


def graph_bytes(student: Student, point: Point, with_gradient: bool = True) -> int:
    """Return the bytes that a graph keeps besides ω, which it shares with the student's state.

    Args:
        point: its batch must be whole.
        with_gradient: whether the gradient's values are kept with it.

    Cost: as `graph_of`.
    """
    alive: WeakSet[_Saved] = WeakSet()

    def pack(tensor: Tensor) -> _Saved:
        saved = _Saved(tensor)
        alive.add(saved)
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        graph = graph_of(student, point)
    if not with_gradient:
        graph = graph.without_values()
    held = [*(saved.tensor for saved in alive), *graph.gradients]
    sizes = {storage.data_ptr(): storage.nbytes() for storage in (tensor.untyped_storage() for tensor in held)}
    sizes.pop(point.params.untyped_storage().data_ptr(), None)
    return sum(sizes.values())


class _Saved:
    """A tensor that a graph has saved; it lives as long as the graph's node."""

    def __init__(self, tensor: Tensor):
        # Detached, because the tensor itself may know its node, and the two would hold each other for ever.
        self.tensor = tensor.detach()


class _WithoutValues(torch.autograd.Function):
    """A tensor of the same shape and graph whose elements all lie in one place of memory."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return tensor.new_zeros(()).expand(tensor.shape)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        return cotangents[0]
