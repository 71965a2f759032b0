"""The student's update rules as pure functions: (ω, slots, g, η) → (ω', slots')."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from fairseq_dlf.core.support.checks import require_at_least, require_positive, require_rate
from fairseq_dlf.core.support.errors import InputError

# fairseq clips with this offset; the same number here makes an episode's step
# the step that the student's own training takes.
CLIP_OFFSET = 1e-6


class StudentState(NamedTuple):
    """What one update changes: parameters ω and the rule's own slots.

    Slots are (parameters,), but for Adam's count of updates, which is a scalar.
    """

    params: Tensor
    slots: tuple[Tensor, ...]


class Pullback(NamedTuple):
    """Cotangents of a rule's inputs, given those of its outputs."""

    state: StudentState
    gradient: Tensor


class UpdateRule(Protocol):
    """An optimiser's step, elementwise but for the clipping, and its vector-Jacobian product.

    Attributes:
        reads_gradient: whether the product depends on the step's gradient.
    """

    @property
    def reads_gradient(self) -> bool: ...

    def initial(self, params: Tensor) -> StudentState:
        """Return the state before the first update."""

    def step(self, state: StudentState, gradient: Tensor, learning_rate: float) -> StudentState:
        """Return the state after one update."""

    def pull_back(
        self, state: StudentState, gradient: Callable[[], Tensor], learning_rate: float, cotangent: StudentState
    ) -> Pullback:
        """Return the cotangents of ω and the slots at fixed g, and of g, from those of the step's outputs.

        Args:
            gradient: gives the step's g; called only if `reads_gradient`.
        """


@dataclass(frozen=True)
class SGD:
    """ω' = ω − ηm with m' = μm + g̃, where g̃ is the clipped gradient plus decay · ω.

    With `nesterov`, ω' = ω − η(g̃ + μm'). Without momentum there is no slot and the
    reverse pass is the paper's Eqs 4 and 5. Follows torch.optim.SGD after fairseq's
    clipping by global norm, so a student trained by `--optimizer sgd` takes these very steps.

    Attributes:
        momentum: μ in [0, 1).
        nesterov: looks ahead; needs momentum.
        clip_norm: bound on ‖g‖; 0 switches clipping off.
        weight_decay: added to the gradient (coupled), or, where `decoupled`, taken from
            ω directly as ηλω, as AdamW does.
    """

    momentum: float = 0.0
    nesterov: bool = False
    clip_norm: float = 0.0
    weight_decay: float = 0.0
    decoupled: bool = False

    def __post_init__(self) -> None:
        require_rate(momentum=self.momentum)
        require_at_least(0, clip_norm=self.clip_norm, weight_decay=self.weight_decay)
        if self.nesterov and not self.momentum:
            raise InputError("Nesterov's rule has momentum 0: give a momentum in (0, 1)", setting="momentum")

    @property
    def reads_gradient(self) -> bool:
        return self.clip_norm > 0

    def initial(self, params: Tensor) -> StudentState:
        slots = (torch.zeros_like(params),) if self.momentum else ()
        return StudentState(params, slots)

    def step(self, state: StudentState, gradient: Tensor, learning_rate: float) -> StudentState:
        direction = clip_by_norm(gradient, self.clip_norm)
        if self.weight_decay and not self.decoupled:
            direction = torch.add(direction, state.params, alpha=self.weight_decay)
        params = state.params
        if self.weight_decay and self.decoupled:
            params = params * (1.0 - learning_rate * self.weight_decay)
        if not self.momentum:
            return StudentState(torch.sub(params, direction, alpha=learning_rate), ())
        velocity = torch.add(direction, state.slots[0], alpha=self.momentum)
        direction = torch.add(direction, velocity, alpha=self.momentum) if self.nesterov else velocity
        return StudentState(torch.sub(params, direction, alpha=learning_rate), (velocity,))

    def pull_back(
        self, state: StudentState, gradient: Callable[[], Tensor], learning_rate: float, cotangent: StudentState
    ) -> Pullback:
        # In closed form: autograd through the rule would cost a tenth of a student's gradient.
        direction = cotangent.params * -learning_rate
        slots: tuple[Tensor, ...] = ()
        if self.momentum:
            ahead = self.momentum if self.nesterov else 1.0
            velocity = torch.add(cotangent.slots[0], direction, alpha=ahead)
            direction = direction + velocity if self.nesterov else velocity
            slots = (velocity * self.momentum,)
        params = cotangent.params
        if self.weight_decay:
            decay = -learning_rate * cotangent.params if self.decoupled else direction
            params = torch.add(params, decay, alpha=self.weight_decay)
        if self.clip_norm:
            direction = _clip_pulled_back(gradient(), self.clip_norm, direction)
        return Pullback(StudentState(params, slots), direction)


@dataclass(frozen=True)
class Adam:
    """ω' = ω − η m̂ / (√(v̂ + ε_root) + ε): with ε_root = 0 torch.optim.Adam's step; with `decoupled` decay AdamW's.

    Where v is 0, which is where no gradient has ever been, the step is 0 and is taken to
    have no slope: the root's own is infinite, the quotient's is 1/ε, and either would only
    meet a zero row of the student's Hessian.

    Attributes:
        betas: decay rates of m and v, each in [0, 1).
        epsilon: ε > 0.
        epsilon_root: ε_root ≥ 0, as in optax. Where it is of the size of v̂, the slope of the root is bounded, and
            cotangents grow less in long runs; the student's steps are shorter, too.
        clip_norm, weight_decay, decoupled: as for SGD.

    Slots: m, v and the number of updates done (a scalar, always on the CPU).
    """

    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    clip_norm: float = 0.0
    weight_decay: float = 0.0
    decoupled: bool = False
    epsilon_root: float = 0.0
    reads_gradient: ClassVar[bool] = True

    def __post_init__(self) -> None:
        first, second = self.betas
        require_rate(beta1=first, beta2=second)
        require_at_least(0, clip_norm=self.clip_norm, weight_decay=self.weight_decay, epsilon_root=self.epsilon_root)
        require_positive(epsilon=self.epsilon)

    def initial(self, params: Tensor) -> StudentState:
        return StudentState(params, (torch.zeros_like(params), torch.zeros_like(params), torch.zeros(())))

    def step(self, state: StudentState, gradient: Tensor, learning_rate: float) -> StudentState:
        params, (first, second, done) = state
        direction = clip_by_norm(gradient, self.clip_norm)
        if self.weight_decay and not self.decoupled:
            direction = torch.add(direction, params, alpha=self.weight_decay)
        if self.weight_decay and self.decoupled:
            params = params * (1.0 - learning_rate * self.weight_decay)
        done, (beta, gamma) = done + 1, self.betas
        first = beta * first + (1.0 - beta) * direction
        second = gamma * second + (1.0 - gamma) * direction.square()
        updates = int(done.detach())
        correction = 1.0 - gamma**updates
        if self.epsilon_root:
            quotient = first / ((second / correction + self.epsilon_root).sqrt() + self.epsilon)
        else:
            moved = second > 0.0
            root = torch.where(moved, second, 1.0).sqrt() / correction**0.5
            quotient = torch.where(moved, first, 0.0) / (root + self.epsilon)
        params = torch.sub(params, quotient, alpha=learning_rate / (1.0 - beta**updates))
        return StudentState(params, (first, second, done))

    def pull_back(
        self, state: StudentState, gradient: Callable[[], Tensor], learning_rate: float, cotangent: StudentState
    ) -> Pullback:
        return pull_back_by_autograd(self, state, gradient(), learning_rate, cotangent)


def clip_by_norm(gradient: Tensor, clip_norm: float) -> Tensor:
    """Return g · min(1, clip_norm / (‖g‖ + 1e-6)), differentiable where the norm is not 0; 0 does not clip."""
    if not clip_norm:
        return gradient
    norm = gradient.norm()
    if norm.detach() + CLIP_OFFSET <= clip_norm:
        return gradient
    return gradient * (clip_norm / (norm + CLIP_OFFSET))


def _clip_pulled_back(gradient: Tensor, clip_norm: float, cotangent: Tensor) -> Tensor:
    """Return the vector-Jacobian product of `clip_by_norm`: s (c − ⟨g, c⟩ g / (‖g‖ (‖g‖ + 1e-6)))."""
    norm = gradient.norm()
    if norm + CLIP_OFFSET <= clip_norm:
        return cotangent
    scale = clip_norm / (norm + CLIP_OFFSET)
    along = torch.dot(gradient, cotangent) / (norm * (norm + CLIP_OFFSET))
    return scale * (cotangent - along * gradient)


def pull_back_by_autograd(
    rule: UpdateRule, state: StudentState, gradient: Tensor, learning_rate: float, cotangent: StudentState
) -> Pullback:
    """Return the vector-Jacobian product of one update, by autograd through the rule alone."""
    params, slots = state.params.detach().requires_grad_(), [s.detach().requires_grad_() for s in state.slots]
    gradient = gradient.detach().requires_grad_()
    with torch.enable_grad():
        after = rule.step(StudentState(params, tuple(slots)), gradient, learning_rate)
    pulled = torch.autograd.grad(
        [after.params, *after.slots],
        [params, gradient, *slots],
        grad_outputs=[cotangent.params, *cotangent.slots],
        materialize_grads=True,
    )
    return Pullback(StudentState(pulled[0], tuple(pulled[2:])), pulled[1])
