"""The student as a function of one flat parameter vector."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.seeds import mixed_seed

Forward = Callable[..., Any]
Objective = Callable[[Forward, Tensor, Any], Tensor]
# A module's buffers by name, such as the running figures of batch normalisation.
Buffers = Mapping[str, Tensor]


class Point(NamedTuple):
    """Where a student's loss is evaluated: everything that it is a function of.

    Attributes:
        params: ω, (parameters,).
        coefficients: Φ, (coefficients,).
        batch: the front end's batch.
        seed: seeds the dropout masks.
    """

    params: Tensor
    coefficients: Tensor
    batch: Any
    seed: int


class Gradients(NamedTuple):
    """The loss of a batch and its gradients at one (ω, Φ), without a graph.

    Attributes:
        loss: L_Φ(ω), a scalar.
        params: ∂L_Φ/∂ω, (parameters,).
        coefficients: ∂L_Φ/∂Φ, (coefficients,); None where it is not wanted.
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
        forward_context: context of every forward, the same in the forward and the reverse pass
            so that dropout masks are the same: `twice_differentiable` where products are exact.
        combine: sums a tensor over the workers that share each batch, as an `all_reduce`
            does; the objective is then a worker's part of the mean loss. By default
            there is one worker.
        split: cuts a batch into micro-batches, whose objectives sum to that of the batch, so that the graph of
            one of them is held at a time; by default a batch is whole. Each has dropout masks of its own.
    """

    def __init__(
        self,
        module: nn.Module,
        objective: Objective,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        combine: Callable[[Tensor], Tensor] = lambda tensor: tensor,
        split: Callable[[Any], Sequence[Any]] = lambda batch: (batch,),
    ):
        self.module = module
        self.objective = objective
        self.forward_context = forward_context
        self.combine = combine
        self.split = split
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if not trained:
            raise InputError("the student has no trainable parameters: there is nothing to teach")
        self.names = list(trained)
        self.shapes = [p.shape for p in trained.values()]
        self.sizes = [p.numel() for p in trained.values()]
        self._has_buffers = any(True for _ in module.buffers())

    def within(self, forward_context: Callable[[], AbstractContextManager[Any]]) -> "Student":
        """Return the same student with its forwards in another context."""
        return Student(self.module, self.objective, forward_context, self.combine, self.split)

    def with_objective(self, objective: Objective) -> "Student":
        """Return the same student with another loss."""
        return Student(self.module, objective, self.forward_context, self.combine, self.split)

    def in_parts(self, split: Callable[[Any], Sequence[Any]]) -> "Student":
        """Return the same student with its batches in micro-batches."""
        return Student(self.module, self.objective, self.forward_context, self.combine, split)

    def in_double(self) -> "Student":
        """Return the same student in float64 on the CPU, of a copy of its module."""
        module = copy.deepcopy(self.module).cpu().double()
        return Student(module, self.objective, self.forward_context, self.combine, self.split)

    def flat_params(self) -> Tensor:
        """Return a copy of the module's parameters as one vector ω, (parameters,)."""
        params = dict(self.module.named_parameters())
        return joined([params[name].detach() for name in self.names])

    def load_flat_params(self, params: Tensor) -> None:
        """Write ω into the module, for decoding with code that knows modules only."""
        with torch.no_grad():
            own = dict(self.module.named_parameters())
            for name, value in zip(self.names, self.pieces(params.detach()), strict=True):
                own[name].copy_(value)

    def load_buffers(self, buffers: Buffers) -> None:
        """Write buffers into the module."""
        for name, buffer in self.module.named_buffers():
            buffer.copy_(buffers[name])

    def buffers(self) -> dict[str, Tensor]:
        """Return copies of the module's buffers by name."""
        # Looking for them takes a twentieth of a small student's step.
        found = self.module.named_buffers() if self._has_buffers else ()
        return {name: buffer.detach().clone() for name, buffer in found}

    def loss(self, point: Point) -> Tensor:
        """Return L_Φ(ω) on this worker's batch: a scalar with a graph, of all its micro-batches."""
        pieces = self.pieces(point.params)
        return torch.stack([self.loss_of_pieces(pieces, part) for part in self.parts(point)]).sum()

    def parts(self, point: Point) -> list[Point]:
        """Return the point for each micro-batch of its batch; the first has the seed of the batch."""
        batches = enumerate(self.split(point.batch))
        return [point._replace(batch=each, seed=mixed_seed(point.seed, n) if n else point.seed) for n, each in batches]

    def pieces(self, params: Tensor) -> list[Tensor]:
        """Cut ω into the module's parameters: views in the order of `names`."""
        return [piece.view(shape) for piece, shape in zip(params.split(self.sizes), self.shapes, strict=True)]

    def loss_of_pieces(self, pieces: Sequence[Tensor], point: Point, buffers: Buffers | None = None) -> Tensor:
        """Return the loss at a point, whose batch is not cut any further, with its ω given in pieces.

        Pieces that are leaves spare autograd the backward pass through the cutting.
        """
        with _random_numbers_of(point.seed, pieces[0].device):
            return self._run(pieces, lambda forward: self.objective(forward, point.coefficients, point.batch), buffers)

    def run(self, params: Tensor, function: Callable[[Forward], Tensor], buffers: Buffers | None = None) -> Tensor:
        """Return function(forward), where `forward` runs the module with parameters ω, with a graph to them.

        Args:
            buffers: the module's buffers in place of its own; the forward changes them in place.
        """
        return self._run(self.pieces(params), function, buffers)

    def gradients(self, point: Point, of_coefficients: bool = False, buffers: Buffers | None = None) -> Gradients:
        """Return L_Φ(ω) and its gradients, summed over workers.

        Args:
            of_coefficients: whether ∂L/∂Φ is wanted.
            buffers: as in `run`.

        Cost: one training step's forward and backward, with the graph of one micro-batch.
        """
        each = (self._gradients(part, of_coefficients, buffers) for part in self.parts(point))
        found = reduce(_sum_of, each)
        return Gradients(
            self.combine(found.loss),
            self.combine(found.params),
            None if found.coefficients is None else self.combine(found.coefficients),
        )

    def _gradients(self, part: Point, of_coefficients: bool, buffers: Buffers | None) -> Gradients:
        """Return loss and gradients of one micro-batch, on this worker."""
        pieces = [piece.requires_grad_() for piece in self.pieces(part.params.detach())]
        leaf = part.coefficients.detach().requires_grad_(of_coefficients)
        with torch.enable_grad():
            loss = self.loss_of_pieces(pieces, part._replace(coefficients=leaf), buffers)
        wanted = [*pieces, leaf] if of_coefficients else pieces
        found = torch.autograd.grad(loss, wanted, materialize_grads=True)
        flat = joined(found[: len(pieces)])
        return Gradients(loss.detach(), flat, found[-1] if of_coefficients else None)

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
    """Join pieces into one vector, (parameters,)."""
    return torch.cat([piece.reshape(-1) for piece in pieces])


def _sum_of(one: Gradients, other: Gradients) -> Gradients:
    # In place: each is ours alone, and each pass over ω costs memory bandwidth.
    coefficients = None
    if one.coefficients is not None and other.coefficients is not None:
        coefficients = one.coefficients + other.coefficients
    return Gradients(one.loss + other.loss, one.params.add_(other.params), coefficients)


@contextmanager
def _random_numbers_of(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the generators that a forward on the device draws from, and restore them.

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
