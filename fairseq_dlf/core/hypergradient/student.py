"""The student as a function of one flat parameter vector."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

Forward = Callable[..., Any]
Objective = Callable[[Forward, Tensor, Any], Tensor]
# A module's buffers by name, such as the running figures of batch normalisation.
Buffers = Mapping[str, Tensor]


class Gradients(NamedTuple):
    """The loss of a batch and its gradients at one (ω, Φ), without a graph.

    Attributes:
        loss: L_Φ(ω), a scalar.
        params: ∂L_Φ/∂ω, (parameters,).
        coefficients: ∂L_Φ/∂Φ, (coefficients,); None where it was not asked for.
    """

    loss: Tensor
    params: Tensor
    coefficients: Tensor | None


class Student:
    """A module whose loss and gradient are functions of (ω, Φ, batch, seed).

    Parameters that are shared between layers appear once in ω. Training never
    touches the module's own parameters and buffers; `load_flat_params` does, for decoding.
    What a forward does to buffers, as batch normalisation to its running figures, goes to
    the buffers that the caller passes, and is forgotten where none are passed: gradients,
    products and replays leave no trace.

    Args:
        module: the network; only parameters with `requires_grad` are part of ω.
        objective: maps (forward, Φ, batch) to the scalar mean loss, where
            `forward(**inputs)` runs the module with the parameters of the step.
        forward_context: context of every forward, the same on the way forward and in the
            reverse pass so that dropout masks are the same: `twice_differentiable` where
            products are exact.
        combine: sums a tensor over the workers that share each batch, as an `all_reduce`
            does; the objective is then a worker's part of the mean loss. By default
            there is one worker.
    """

    def __init__(
        self,
        module: nn.Module,
        objective: Objective,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        combine: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ):
        self.module = module
        self.objective = objective
        self.forward_context = forward_context
        self.combine = combine
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if not trained:
            raise ValueError("the student has no trainable parameters: there is nothing to teach")
        self.names = list(trained)
        self.shapes = [p.shape for p in trained.values()]
        self.sizes = [p.numel() for p in trained.values()]
        self._has_buffers = any(True for _ in module.buffers())

    def within(self, forward_context: Callable[[], AbstractContextManager[Any]]) -> "Student":
        """The same student with its forwards in another context."""
        return Student(self.module, self.objective, forward_context, self.combine)

    def flat_params(self) -> Tensor:
        """A copy of the module's parameters as one vector ω, (parameters,)."""
        params = dict(self.module.named_parameters())
        return joined([params[name].detach() for name in self.names])

    def load_flat_params(self, params: Tensor) -> None:
        """Writes ω into the module, for decoding with code that knows modules only."""
        with torch.no_grad():
            own = dict(self.module.named_parameters())
            for name, value in zip(self.names, self.pieces(params.detach()), strict=True):
                own[name].copy_(value)

    def load_buffers(self, buffers: Buffers) -> None:
        """Writes buffers into the module."""
        for name, buffer in self.module.named_buffers():
            buffer.copy_(buffers[name])

    def buffers(self) -> dict[str, Tensor]:
        """Copies of the module's buffers by name."""
        # Looking for them takes a twentieth of a small student's step.
        found = self.module.named_buffers() if self._has_buffers else ()
        return {name: buffer.detach().clone() for name, buffer in found}

    def loss(self, params: Tensor, coefficients: Tensor, batch: Any, seed: int) -> Tensor:
        """L_Φ(ω) on this worker's batch, with the dropout masks of `seed`: a scalar with a graph."""
        return self.loss_of_pieces(self.pieces(params), coefficients, batch, seed)

    def pieces(self, params: Tensor) -> list[Tensor]:
        """ω cut into the module's parameters, views in the order of `names`."""
        return [piece.view(shape) for piece, shape in zip(params.split(self.sizes), self.shapes, strict=True)]

    def loss_of_pieces(
        self,
        pieces: Sequence[Tensor],
        coefficients: Tensor,
        batch: Any,
        seed: int,
        buffers: Buffers | None = None,
    ) -> Tensor:
        """As `loss`. Pieces that are leaves spare autograd the way back through the cutting."""
        with _random_numbers_of(seed, pieces[0].device):
            return self._run(pieces, lambda forward: self.objective(forward, coefficients, batch), buffers)

    def run(self, params: Tensor, function: Callable[[Forward], Tensor], buffers: Buffers | None = None) -> Tensor:
        """function(forward), where `forward` runs the module with parameters ω, with a graph to them.

        Args:
            buffers: the module's buffers in place of its own; the forward changes them in place.
        """
        return self._run(self.pieces(params), function, buffers)

    def gradients(
        self,
        params: Tensor,
        coefficients: Tensor,
        batch: Any,
        seed: int,
        of_coefficients: bool = False,
        buffers: Buffers | None = None,
    ) -> Gradients:
        """L_Φ(ω) and its gradients, summed over workers.

        Args:
            of_coefficients: whether ∂L/∂Φ is wanted.
            buffers: as in `run`.

        Cost: one training step's forward and backward.
        """
        pieces = [piece.requires_grad_() for piece in self.pieces(params.detach())]
        leaf = coefficients.detach().requires_grad_(of_coefficients)
        with torch.enable_grad():
            loss = self.loss_of_pieces(pieces, leaf, batch, seed, buffers)
        wanted = [*pieces, leaf] if of_coefficients else pieces
        found = torch.autograd.grad(loss, wanted, materialize_grads=True)
        flat = joined(found[: len(pieces)])
        return Gradients(
            self.combine(loss.detach()),
            self.combine(flat),
            self.combine(found[-1]) if of_coefficients else None,
        )

    def _run(
        self, pieces: Sequence[Tensor], function: Callable[[Forward], Tensor], buffers: Buffers | None = None
    ) -> Tensor:
        named = dict(zip(self.names, pieces, strict=True))
        named.update(self.buffers() if buffers is None else buffers)

        def forward(*args: Any, **kwargs: Any) -> Any:
            return functional_call(self.module, named, args, kwargs)

        with self.forward_context():
            return function(forward)


def joined(pieces: Sequence[Tensor]) -> Tensor:
    """Pieces as one vector, (parameters,)."""
    return torch.cat([piece.reshape(-1) for piece in pieces])


@contextmanager
def _random_numbers_of(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds the generators that a forward on the device draws from, and restores them.

    `torch.random.fork_rng` with `torch.manual_seed` does the same at fifty times the
    cost, which is a fifth of a small student's step.
    """
    generators = [torch.default_generator]
    if device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index or 0])
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
