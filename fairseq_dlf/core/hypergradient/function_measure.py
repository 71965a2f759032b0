"""A measure from one function of the student's parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.episode import MeasuredCotangent
from fairseq_dlf.core.hypergradient.student import Forward, Student


@dataclass(frozen=True)
class FunctionMeasure:
    """M̃(ω) as a function with a graph, for dev data that fit one forward; a `Measure`.

    Attributes:
        function: from ω, (parameters,), to a scalar, higher is better.

    Cost: one call; with the gradient, a call and its backward.
    """

    function: Callable[[Tensor], Tensor]

    @classmethod
    def of(cls, student: Student, function: Callable[[Forward], Tensor]) -> "FunctionMeasure":
        """Return the measure function(forward), where `forward` runs the student's module with parameters ω.

        The module stays in its mode: in training, dropout draws new masks at each call, and batch normalisation takes
        the statistics of the dev batch.

        Args:
            function: maps `forward` to a scalar, higher is better: `lambda forward: -loss(forward(x), y)`.
        """
        return cls(partial(student.run, function=function))

    def value(self, params: Tensor) -> float:
        with torch.no_grad():
            return float(self.function(params))

    def value_and_cotangent(self, params: Tensor) -> MeasuredCotangent:
        leaf = params.detach().requires_grad_()
        with torch.enable_grad():
            value = self.function(leaf)
        return MeasuredCotangent(float(value.detach()), torch.autograd.grad(value, leaf)[0])
