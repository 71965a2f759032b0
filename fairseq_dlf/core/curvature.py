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

    Cost: one exact product.
    """
    try:
        Exact().linearize(student, params, coefficients, batch, seed).multiply(torch.ones_like(params))
    except (RuntimeError, NotImplementedError) as error:
        layer = _layer_without_second_derivative(student, params, coefficients, batch, seed)
        raise RuntimeError(
            f"the student cannot be differentiated twice, at its layer {layer!r} ({error}): exact "
            "products need second derivatives, so replace the layer or run it by plain operations"
        ) from error


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
            try:
                (first,) = torch.autograd.grad(total, params_leaf, create_graph=True, allow_unused=True)
                if first is not None and first.requires_grad:
                    torch.autograd.grad(first.square().sum(), params_leaf, retain_graph=True, allow_unused=True)
            except (RuntimeError, NotImplementedError):
                failing.append(name)

        return hook

    params_leaf = params.detach().requires_grad_()
    hooks = [m.register_forward_hook(check(name)) for name, m in student.module.named_modules() if name]
    try:
        with torch.enable_grad():
            student.loss(params_leaf, coefficients, batch, seed)
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
