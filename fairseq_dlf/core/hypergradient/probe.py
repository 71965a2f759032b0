"""What a student's layers can do, found out before hours are spent: second derivatives, kinks."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from fairseq_dlf.core.hypergradient.student import Point, Student
from fairseq_dlf.core.support.errors import InputError, StateError, UserError, brief


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Run layers by kernels that have a second derivative.

    Fused attention has none, nor have cuDNN's recurrent layers.
    """
    with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
        yield


def require_second_derivatives(student: Student, point: Point) -> None:
    """Try one exact product, so that an unfit layer or objective is named before hours are spent.

    Raises:
        StateError: naming the innermost layer that has no second derivative.
        InputError: Φ does not change the student's gradient, or the objective has no derivative in it.

    Cost: two exact products; where it fails, one for each layer.
    """
    point = _with_leaf(point)
    with torch.enable_grad():
        loss, coefficients = _loss_of_coefficients(student, point)
        problem = _second_derivative_problem(loss, point.params, coefficients)
        if problem is None:
            _require_mixed_derivative(loss, point.params, coefficients)
    if problem is not None:
        layer = _layer_without_second_derivative(student, point)
        raise StateError(
            f"the student cannot be differentiated twice, at its layer {layer!r} ({problem}): exact "
            "products need second derivatives, so replace the layer or run it by plain operations"
        )


def require_coefficients(student: Student, point: Point) -> None:
    """Try ∂L/∂Φ, so that an objective that cannot be taught is named before the first update.

    Raises:
        InputError: the objective makes no use of Φ, or has no derivative in it.

    Cost: the forward of one micro-batch; with several workers, a sum of one number.
    """
    with torch.enable_grad():
        loss, coefficients = _loss_of_coefficients(student, student.parts(point)[0])
        used = _is_used(loss, coefficients)
    # The part of one worker may be empty.
    if not student.combine(point.params.new_tensor(float(used))):
        raise InputError(_UNUSED)


def _with_leaf(point: Point) -> Point:
    """Return the point with an ω that gradients can be taken in."""
    return point._replace(params=point.params.detach().requires_grad_())


_ADVICE = (
    "use Φ in plain operations that weight what depends on the student, such as "
    "(phi[labels] * cross_entropy(scores, labels, reduction='none')).mean()"
)
_UNUSED = f"the objective makes no use of Φ, so nothing can be learnt about it: {_ADVICE}"


def _loss_of_coefficients(student: Student, point: Point) -> tuple[Tensor, Tensor]:
    """Return the loss with a graph to Φ, and the Φ that it leads to.

    Raises:
        InputError: the objective works, but not with a Φ that needs a gradient.
    """
    coefficients = point.coefficients.detach().requires_grad_()
    try:
        return student.loss(point._replace(coefficients=coefficients)), coefficients
    except UserError:
        raise
    except RuntimeError as error:
        # An objective that fails in any case is shown by its own error.
        student.loss(point._replace(coefficients=coefficients.detach()))
        raise InputError(
            f"the objective has no derivative in Φ ({brief(error)}): torch's losses take weights without one, so write "
            f"the weighting out; {_ADVICE}"
        ) from error


def _is_used(value: Tensor, coefficients: Tensor) -> bool:
    """Return whether a scalar has a graph to Φ."""
    return value.requires_grad and _slope(value, coefficients) is not None


def _slope(value: Tensor, of: Tensor) -> Tensor | None:
    return torch.autograd.grad(value, of, retain_graph=True, allow_unused=True)[0]


def _require_mixed_derivative(loss: Tensor, params: Tensor, coefficients: Tensor) -> None:
    """Refuse a loss whose gradient in ω does not depend on Φ."""
    if not _is_used(loss, coefficients):
        raise InputError(_UNUSED)
    (first,) = torch.autograd.grad(loss, params, create_graph=True, materialize_grads=True)
    if not _is_used(first.square().sum(), coefficients):
        raise InputError(
            "Φ changes the student's loss, but not its gradient, so nothing can be learnt about it: a term that does "
            f"not depend on the student trains nothing; {_ADVICE}"
        )


def _second_derivative_problem(value: Tensor, params: Tensor, *others: Tensor) -> str | None:
    """Say why the scalar's gradient in the parameters has no derivative in them, or in others; None where it has."""
    try:
        (first,) = torch.autograd.grad(value, params, create_graph=True, allow_unused=True)
        if first is None or not first.requires_grad:
            return None
        # Such a node raises only when it is reached; torch.autograd.grad passes it by, and its
        # share of the product would be silently missing.
        if _ONCE_DIFFERENTIABLE in _node_names(first):
            return "a backward that is marked as once differentiable"
        torch.autograd.grad(first.square().sum(), [params, *others], retain_graph=True, allow_unused=True)
    except (RuntimeError, NotImplementedError) as error:
        return str(error)
    return None


_ONCE_DIFFERENTIABLE = "torch::autograd::Error"


def _node_names(tensor: Tensor) -> set[str]:
    """Return the names of all nodes in the graph behind a tensor."""
    seen, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting.extend(following for following, _ in node.next_functions)
    return {node.name() for node in seen}


def _layer_without_second_derivative(student: Student, point: Point) -> str:
    """Name the first layer, innermost first, whose own double backward fails; '(loss)' if none does."""
    failing: list[str] = []

    def check(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            outputs = output if isinstance(output, (tuple, list)) else [output]
            tensors = [x for x in outputs if isinstance(x, Tensor) and x.requires_grad]
            if failing or not tensors:
                return
            total = torch.stack([x.double().square().sum() for x in tensors]).sum()
            if _second_derivative_problem(total, point.params) is not None:
                failing.append(name)

        return hook

    hooks = [m.register_forward_hook(check(name)) for name, m in student.module.named_modules() if name]
    try:
        with torch.enable_grad():
            student.loss(point)
    finally:
        for hook in hooks:
            hook.remove()
    return failing[0] if failing else "(loss)"


# Functions whose derivative jumps, by the nodes that autograd records for them.
_KINKS = {
    "relu": ("Relu", "Threshold"),
    "leaky_relu": ("LeakyRelu", "PreluKernel", "Prelu", "RreluWithNoise"),
    "hardtanh": ("Hardtanh", "Clamp", "Hardsigmoid", "Hardswish"),
    "shrink": ("Softshrink", "Hardshrink"),
    "abs": ("Abs",),
    "max": ("MaxPool", "AdaptiveMaxPool", "Maximum", "Minimum", "Amax", "Amin"),
}


def kinks_of(student: Student, point: Point) -> list[str]:
    """Name, in order, the functions with kinks that the loss goes through: 'relu', 'max', ….

    Cost: one forward.
    """
    with torch.enable_grad():
        nodes = _node_names(student.loss(_with_leaf(point)))
    return sorted(name for name, stems in _KINKS.items() if any(node.startswith(stems) for node in nodes))


def require_smooth(student: Student, point: Point, allowed: Collection[str] = ()) -> None:
    """Refuse a student with kinks, for which products by differences are wrong.

    A difference counts the units that a kink switches on its way: for a ReLU Transformer
    the products are off by a quarter and more.

    Args:
        allowed: kinks to let pass, by the names of `kinks_of`.

    Raises:
        InputError: naming the kinks.
    """
    unknown = sorted(set(allowed) - set(_KINKS))
    if unknown:
        raise InputError(f"there are no kinks named {unknown}: wanted some of {sorted(_KINKS)}", setting="allowed")
    found = [name for name in kinks_of(student, point) if name not in allowed]
    if found:
        raise InputError(
            f"the student has kinks ({', '.join(found)}), where products by differences are wrong by tens of "
            "percent: take exact products, or a smooth activation such as gelu, or allow these kinks by name",
            setting="allowed",
        )
