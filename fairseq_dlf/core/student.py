"""The student as a function of one flat parameter vector."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

Forward = Callable[..., Any]
Objective = Callable[[Forward, Tensor, Any], Tensor]


class Student:
    """A module whose loss and gradient are functions of (ω, Φ, batch, seed).

    Parameters that are shared between layers appear once in ω. Training never
    touches the module's own parameters; `load_flat_params` does, for decoding.

    Args:
        module: the network; only parameters with `requires_grad` are part of ω.
        objective: maps (forward, Φ, batch) to the scalar mean loss, where
            `forward(**inputs)` runs the module with the parameters of the step.
        forward_context: context of every forward, the same on the way forward and in the
            reverse pass so that dropout masks are the same: `twice_differentiable` where
            products are exact.
    """

    def __init__(
        self,
        module: nn.Module,
        objective: Objective,
        forward_context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ):
        self.module = module
        self.objective = objective
        self.forward_context = forward_context
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if not trained:
            raise ValueError("the student has no trainable parameters: there is nothing to teach")
        self.names = list(trained)
        self.shapes = [p.shape for p in trained.values()]
        self.sizes = [p.numel() for p in trained.values()]

    def flat_params(self) -> Tensor:
        """A copy of the module's parameters as one vector ω, (parameters,)."""
        params = dict(self.module.named_parameters())
        return torch.cat([params[name].detach().reshape(-1) for name in self.names])

    def load_flat_params(self, params: Tensor) -> None:
        """Writes ω into the module, for decoding with code that knows modules only."""
        with torch.no_grad():
            own = dict(self.module.named_parameters())
            for name, value in self._unflatten(params.detach()).items():
                own[name].copy_(value)

    def loss(self, params: Tensor, coefficients: Tensor, batch: Any, seed: int) -> Tensor:
        """L_Φ(ω) on a batch, with the dropout masks of `seed`: a scalar with a graph."""
        devices = [params.device] if params.is_cuda else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            return self.run(params, lambda forward: self.objective(forward, coefficients, batch))

    def run(self, params: Tensor, function: Callable[[Forward], Tensor]) -> Tensor:
        """function(forward), where `forward` runs the module with parameters ω, with a graph to them."""
        named = self._unflatten(params)

        def forward(*args: Any, **kwargs: Any) -> Any:
            return functional_call(self.module, named, args, kwargs)

        with self.forward_context():
            return function(forward)

    def gradient(self, params: Tensor, coefficients: Tensor, batch: Any, seed: int) -> tuple[Tensor, Tensor]:
        """(loss, g = ∂L_Φ/∂ω), both without a graph. Cost: one training step's forward and backward."""
        params = params.detach().requires_grad_()
        with torch.enable_grad():
            loss = self.loss(params, coefficients.detach(), batch, seed)
            (gradient,) = torch.autograd.grad(loss, params)
        return loss.detach(), gradient

    def _unflatten(self, params: Tensor) -> dict[str, Tensor]:
        pieces = params.split(self.sizes)
        return {name: piece.view(shape) for name, piece, shape in zip(self.names, pieces, self.shapes, strict=True)}
