"""A teacher that moves each coefficient by an LSTM on its gradient: a learned optimiser of Φ."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from fairseq_dlf.core.support.checks import require_at_least, require_positive
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.teachers.stepping import SteppingTeacher
from fairseq_dlf.core.teaching.teachers.teacher import TEACHERS, Memory

# p of Andrychowicz et al.: gradients below e^−p count as small.
SMALLEST = 10.0
STEP = 1e-3
_MEMORY = ("phi", "hidden", "cells")
_FIRST = "lstm.0."


@TEACHERS.register("lstm")
class LSTMTeacher(SteppingTeacher):
    """φ' = φ − step · LSTM(gradient), one LSTM for all coefficients with a state for each, so |φ' − φ| < step.

    Args:
        lstm: stacked cells, the first with 2 inputs and the last with 1 unit, whose state is the output.
        phi: the present Φ, (coefficients,), float.
        hidden, cells: the states of all cells side by side, (coefficients, units) each; None begins with zeros.
        step: of a coefficient, a scalar.

    Raises:
        InputError: the tensors do not fit, or are not finite.

    Cost: a step takes some 170,000 multiplications for each coefficient, and with its graph as much memory as a dozen
    tensors (coefficients, width); 84,000 parameters. The memory has 2 · units numbers for each coefficient.
    Source: L2T-DLN (Hai et al. 2023) and the authors' code; Andrychowicz et al. 2016.
    """

    phi: Tensor
    hidden: Tensor
    cells: Tensor
    step: Tensor

    def __init__(
        self,
        lstm: Sequence[nn.LSTMCell],
        phi: Tensor,
        step: Tensor,
        hidden: Tensor | None = None,
        cells: Tensor | None = None,
    ):
        super().__init__()
        self.lstm = nn.ModuleList(lstm)
        self._widths = [cell.hidden_size for cell in lstm]
        zeros = self._zeros(phi)
        memory = (phi, zeros if hidden is None else hidden, zeros if cells is None else cells)
        self._require_fit(memory)
        for name, tensor in zip((*_MEMORY, "step"), (*memory, step), strict=True):
            self.register_buffer(name, tensor.detach().clone())
        if not all(bool(tensor.isfinite().all()) for tensor in self.state_dict().values()):
            raise InputError("the teacher's parameters or its memory are not all finite: its training has diverged")

    @classmethod
    def untaught(  # type: ignore[override]
        cls, neutral: Tensor, features: int, width: int = 64, layers: int = 3, step: float = STEP
    ) -> "LSTMTeacher":
        """Return a teacher with Φ = `neutral`, states of zeros and random cells.

        Args:
            neutral: (coefficients,).
            width: units of each cell but the last.
            layers: cells before the last.
            step: bound of a coefficient's move.
        """
        require_at_least(1, width=width, layers=layers)
        require_positive(step=step)
        sizes = [2, *[width] * layers, 1]
        cells = [nn.LSTMCell(*pair, dtype=neutral.dtype) for pair in zip(sizes, sizes[1:], strict=False)]
        return cls(cells, neutral, torch.tensor(step, dtype=neutral.dtype))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "LSTMTeacher":
        missing = {*_MEMORY, "step", f"{_FIRST}weight_ih"} - set(tensors)
        if missing:
            raise InputError(f"a teacher lstm needs tensors that are missing: {', '.join(sorted(missing))}")
        return cls(_cells_of(tensors), tensors["phi"], tensors["step"], tensors["hidden"], tensors["cells"])

    def begin(self, phi: Tensor) -> None:
        """Forget all, and go on from Φ, (coefficients,), with states of zeros: for another run, of any size."""
        self.keep((phi.clone(), self._zeros(phi), self._zeros(phi)))

    def start(self) -> Memory:
        return self.phi, self.hidden, self.cells

    def keep(self, memory: Memory) -> None:
        # Not in place: the graph of a step refers to the memory before it.
        self.phi, self.hidden, self.cells = (tensor.detach() for tensor in memory)

    def advance(self, memory: Memory, gradient: Tensor) -> Memory:
        phi, hidden, cells = memory
        seen, kept = preprocessed(gradient.detach()), []
        states = zip(hidden.split(self._widths, dim=1), cells.split(self._widths, dim=1), strict=True)
        for cell, state in zip(self.lstm, states, strict=True):
            kept.append(cell(seen, state))
            seen = kept[-1][0]
        outputs, inside = (torch.cat(each, dim=1) for each in zip(*kept, strict=True))
        return phi - self.step * seen.squeeze(1), outputs, inside

    def _zeros(self, phi: Tensor) -> Tensor:
        return torch.zeros(phi.numel(), sum(self._widths), dtype=phi.dtype, device=phi.device)

    def _require_fit(self, memory: Memory) -> None:
        phi, *states = memory
        wanted = (phi.numel(), sum(self._widths))
        if phi.dim() != 1 or phi.numel() == 0 or any(state.shape != wanted for state in states):
            shapes = ", ".join(f"{name} {tuple(part.shape)}" for name, part in zip(_MEMORY, memory, strict=True))
            raise InputError(
                f"the memory of a teacher lstm has the shapes {shapes}: wanted (coefficients,), and twice "
                f"(coefficients, {wanted[1]}) for cells of {self._widths} units"
            )


def preprocessed(gradient: Tensor) -> Tensor:
    """Return size and sign of each number on scales that an LSTM can read.

    Args:
        gradient: (n,).

    Returns:
        (n, 2): (log |g| / p, sign g) where |g| ≥ e^−p, with 1e-8 added to |g|; else (−1, e^p g); p = 10.

    Source: Andrychowicz et al. 2016, appendix A.
    """
    size = gradient.abs()
    small = size < math.exp(-SMALLEST)
    first = torch.where(small, -1.0, (size + 1e-8).log() / SMALLEST)
    second = torch.where(small, math.exp(SMALLEST) * gradient, gradient.sign())
    return torch.stack([first, second], dim=1)


def _cells_of(tensors: Mapping[str, Tensor]) -> list[nn.LSTMCell]:
    """Return the cells whose tensors are named lstm.0.weight_ih and so on, which must stand on one another."""
    cells: list[nn.LSTMCell] = []
    inputs = 2
    while f"lstm.{len(cells)}.weight_ih" in tensors:
        prefix = f"lstm.{len(cells)}."
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        units = own["weight_ih"].size(0) // 4
        cell = skip_init(nn.LSTMCell, inputs, max(units, 1), dtype=own["weight_ih"].dtype)
        try:
            cell.load_state_dict(own)
        except RuntimeError as error:
            shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in sorted(own.items()))
            raise InputError(
                f"the tensors {prefix}* are no LSTM cell of {inputs} inputs: found {shapes or 'none'}"
            ) from error
        cells.append(cell)
        inputs = units
    if inputs != 1:
        raise InputError(f"the last cell of a teacher lstm has {inputs} units: wanted 1")
    return cells
