"""Small networks whose weights are coefficients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from fairseq_dlf.core.teaching.forms.form import Form, require_form


@dataclass(frozen=True)
class NetworkForm(Form):
    """A form with the weights of a network, without biases, among its coefficients: layer by layer, row by row.

    Attributes:
        width: units of each hidden layer.
        depth: hidden layers.
        seed: of the weights from which teaching starts, so that they are the same wherever the form is made.
        inputs: of the network.
    """

    width: int = 40
    depth: int = 4
    seed: int = 1
    inputs: ClassVar[int]
    portable = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("width", 1), ("depth", 1), ("seed", 0)):
            value = getattr(self, name)
            whole = isinstance(value, int) and value >= least
            require_form(name, whole, f"is {value:g}, but must be a whole number of at least {least}")

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """The shapes of the weights, (outputs, inputs) of each layer."""
        sizes = [self.inputs, *[self.width] * self.depth, 1]
        return [(outputs, inputs) for inputs, outputs in zip(sizes, sizes[1:], strict=False)]

    @property
    def weights(self) -> int:
        """The number of weights."""
        return sum(outputs * inputs for outputs, inputs in self.shapes)

    def random_weights(self, gain: float) -> list[Tensor]:
        """Return random weights of each layer, the same for the same seed: normal, of deviation gain / √outputs."""
        generator = torch.Generator().manual_seed(self.seed)
        return [gain / shape[0] ** 0.5 * torch.randn(shape, generator=generator) for shape in self.shapes]

    def output(self, weights: Tensor, rows: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the network's output of each row, (...).

        Args:
            weights: (weights,).
            rows: (..., inputs).
        """
        pieces = weights.split([outputs * inputs for outputs, inputs in self.shapes])
        *hidden, last = [piece.view(shape) for piece, shape in zip(pieces, self.shapes, strict=True)]
        for layer in hidden:
            rows = activation(nn.functional.linear(rows, layer))
        return nn.functional.linear(rows, last).squeeze(-1)
