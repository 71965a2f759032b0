"""The student's update rules as pure functions: (ω, slots, g, η) → (ω', slots')."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

# fairseq clips with this offset; the same number here makes an episode's step
# the step that the student's own training takes.
CLIP_OFFSET = 1e-6


class StudentState(NamedTuple):
    """What one update changes: parameters ω and the rule's own slots, all (parameters,)."""

    params: Tensor
    slots: tuple[Tensor, ...]


class Pullback(NamedTuple):
    """Cotangents of a rule's inputs, given those of its outputs."""

    state: StudentState
    gradient: Tensor


class UpdateRule(Protocol):
    """An optimiser's step, elementwise but for the clipping, differentiable by autograd."""

    def initial(self, params: Tensor) -> StudentState:
        """The state before the first update."""

    def step(self, state: StudentState, gradient: Tensor, learning_rate: float) -> StudentState:
        """The state after one update."""


@dataclass(frozen=True)
class SGD:
    """ω' = ω − ηm with m' = μm + g̃, where g̃ is the clipped gradient plus decay · ω.

    Without momentum there is no slot and the reverse pass is the paper's Eqs 4 and 5.
    Follows torch.optim.SGD after fairseq's clipping by global norm, so a student
    trained by `--optimizer sgd` takes these very steps.

    Attributes:
        momentum: μ in [0, 1).
        clip_norm: bound on ‖g‖; 0 switches clipping off.
        weight_decay: coupled decay (added to the gradient).
    """

    momentum: float = 0.0
    clip_norm: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"momentum is {self.momentum}, but must lie in [0, 1)")
        for name in ("clip_norm", "weight_decay"):
            value = getattr(self, name)
            if not value >= 0.0:
                raise ValueError(f"{name} is {value}, but must not be negative; 0 switches it off")

    def initial(self, params: Tensor) -> StudentState:
        slots = (torch.zeros_like(params),) if self.momentum else ()
        return StudentState(params, slots)

    def step(self, state: StudentState, gradient: Tensor, learning_rate: float) -> StudentState:
        direction = clip_by_norm(gradient, self.clip_norm) if self.clip_norm else gradient
        if self.weight_decay:
            direction = direction + self.weight_decay * state.params
        if not self.momentum:
            return StudentState(state.params - learning_rate * direction, ())
        velocity = self.momentum * state.slots[0] + direction
        return StudentState(state.params - learning_rate * velocity, (velocity,))


def clip_by_norm(gradient: Tensor, clip_norm: float) -> Tensor:
    """g · min(1, clip_norm / (‖g‖ + 1e-6)), differentiable where the norm is not 0."""
    norm = gradient.norm()
    if norm.detach() + CLIP_OFFSET <= clip_norm:
        return gradient
    return gradient * (clip_norm / (norm + CLIP_OFFSET))


def pull_back(
    rule: UpdateRule, state: StudentState, gradient: Tensor, learning_rate: float, cotangent: StudentState
) -> Pullback:
    """The vector-Jacobian product of one update, by autograd through the rule alone.

    Args:
        state, gradient, learning_rate: the inputs of the step.
        cotangent: cotangents of the step's outputs.

    Returns:
        Cotangents of ω and the slots at fixed g, and of g.
    """
    params, slots = state.params.detach().requires_grad_(), [s.detach().requires_grad_() for s in state.slots]
    gradient = gradient.detach().requires_grad_()
    with torch.enable_grad():
        after = rule.step(StudentState(params, tuple(slots)), gradient, learning_rate)
    pulled = torch.autograd.grad(
        [after.params, *after.slots],
        [params, gradient, *slots],
        grad_outputs=[cotangent.params, *cotangent.slots],
    )
    return Pullback(StudentState(pulled[0], tuple(pulled[2:])), pulled[1])
