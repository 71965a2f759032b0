"""Hessian-vector and mixed products of the student's loss, the costly part of the reverse pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from fairseq_dlf.core.student import Student


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Runs layers by kernels that have a second derivative.

    Fused attention has none, nor have cuDNN's recurrent layers.
    """
    with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
        yield


def require_second_derivatives(student: Student, params: Tensor, coefficients: Tensor, batch: Any, seed: int) -> None:
    """Tries one exact product, so that an unfit layer is named before hours are spent.

    Raises:
        RuntimeError: naming the innermost layer that has no second derivative.

    Cost: one exact product; where it fails, one for each layer.
    """
    leaf = params.detach().requires_grad_()
    with torch.enable_grad():
        problem = _second_derivative_problem(student.loss(leaf, coefficients, batch, seed), leaf)
    if problem is not None:
        layer = _layer_without_second_derivative(student, leaf, coefficients, batch, seed)
        raise RuntimeError(
            f"the student cannot be differentiated twice, at its layer {layer!r} ({problem}): exact "
            "products need second derivatives, so replace the layer or run it by plain operations"
        )


def _second_derivative_problem(value: Tensor, params: Tensor) -> str | None:
    """Why the scalar has no second derivative in the parameters; None where it has one."""
    try:
        (first,) = torch.autograd.grad(value, params, create_graph=True, allow_unused=True)
        if first is None or not first.requires_grad:
            return None
        # Such a node raises only when it is reached; torch.autograd.grad passes it by, and its
        # share of the product would be silently missing.
        if _ONCE_DIFFERENTIABLE in _node_names(first):
            return "a backward that is marked as once differentiable"
        torch.autograd.grad(first.square().sum(), params, retain_graph=True, allow_unused=True)
    except (RuntimeError, NotImplementedError) as error:
        return str(error)
    return None


_ONCE_DIFFERENTIABLE = "torch::autograd::Error"


def _node_names(tensor: Tensor) -> set[str]:
    """Names of all nodes in the graph behind a tensor."""
    seen, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting.extend(following for following, _ in node.next_functions)
    return {node.name() for node in seen}


def _layer_without_second_derivative(
    student: Student, params: Tensor, coefficients: Tensor, batch: Any, seed: int
) -> str:
    """The first layer, innermost first, whose own double backward fails; '(loss)' if none does."""
    failing: list[str] = []

    def check(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            outputs = output if isinstance(output, (tuple, list)) else [output]
            tensors = [x for x in outputs if isinstance(x, Tensor) and x.requires_grad]
            if failing or not tensors:
                return
            total = torch.stack([x.double().square().sum() for x in tensors]).sum()
            if _second_derivative_problem(total, params) is not None:
                failing.append(name)

        return hook

    hooks = [m.register_forward_hook(check(name)) for name, m in student.module.named_modules() if name]
    try:
        with torch.enable_grad():
            student.loss(params, coefficients, batch, seed)
    finally:
        for hook in hooks:
            hook.remove()
    return failing[0] if failing else "(loss)"


class Products(NamedTuple):
    """Second-order products with one vector a.

    Attributes:
        hessian: (∂²L/∂ω²) a, (parameters,).
        mixed: (∂²L/∂Φ∂ω) a, (coefficients,).
    """

    hessian: Tensor
    mixed: Tensor


class Linearization(NamedTuple):
    """The student's gradient at one point, and its derivative there.

    Attributes:
        gradient: g = ∂L_Φ/∂ω, (parameters,).
        multiply: maps a vector a to its products; may be called once.
    """

    gradient: Tensor
    multiply: Callable[[Tensor], Products]


class Curvature(Protocol):
    """A way to get second-order products."""

    def linearize(self, student: Student, params: Tensor, coefficients: Tensor, batch: Any, seed: int) -> Linearization:
        """The gradient at (ω, Φ) and its derivative."""


class Exact:
    """Products by double backward.

    Cost: about two to three training steps for gradient and products together;
    the memory of one step's graph and of its derivative. Every layer must have a
    second derivative: no fused attention, no cuDNN RNN.
    Paper: Eqs 4 and 5.
    """

    def linearize(self, student: Student, params: Tensor, coefficients: Tensor, batch: Any, seed: int) -> Linearization:
        params = params.detach().requires_grad_()
        coefficients = coefficients.detach().requires_grad_()
        with torch.enable_grad():
            loss = student.loss(params, coefficients, batch, seed)
            (gradient,) = torch.autograd.grad(loss, params, create_graph=True)

        def multiply(vector: Tensor) -> Products:
            # A loss that is all cross-entropy does not depend on Φ: zeros, not an error.
            return Products(
                *torch.autograd.grad(gradient, (params, coefficients), grad_outputs=vector, materialize_grads=True)
            )

        return Linearization(gradient.detach(), multiply)
