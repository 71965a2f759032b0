"""Φ along a student's run, on disk."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fairseq_dlf.core.files.fields import read_dataclass
from fairseq_dlf.core.files.tensor_file import read_tensor_file, require_float32, write_tensor_file
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.forms import FORMS

PATH_NAME = "coefficients.safetensors"
_AGAIN = "delete it and train or teach again"
# Of the first version, which kept matrices alone.
_FIRST_FORM = "matrix"
# Weights of a loss network, at each of hundreds of windows, would fill the disk.
MOST_NUMBERS = 2**20


@dataclass(frozen=True)
class CoefficientPath:
    """Φ along a student's run.

    Attributes:
        coefficients: (points, coefficients), float32.
        epochs: of the student's run at each point, (points,), float32.
        class_names: in order.
        data, model: names.
        form: of Φ, a text that `FORMS.make` accepts; None where Φ is of a task that has no forms.
        phi_start: Φ before teaching, as a multiple of the form's neutral one; None where it is not known.
    """

    coefficients: Tensor
    epochs: Tensor
    class_names: tuple[str, ...]
    data: str
    model: str
    form: str | None = _FIRST_FORM
    phi_start: float | None = None

    @property
    def is_matrix(self) -> bool:
        """Whether Φ has an entry for each pair of classes."""
        return self.form is not None and FORMS.parse(self.form)[0] == "matrix"

    @property
    def matrices(self) -> Tensor:
        """Φ at each point, (points, classes, classes); row y belongs to images of class y."""
        return self.coefficients.view(-1, len(self.class_names), len(self.class_names))

    @property
    def untaught(self) -> Tensor:
        """Φ before teaching, (coefficients,); at the first point where it is not known."""
        if self.phi_start is None or self.form is None:
            return self.coefficients[0]
        return FORMS.make(self.form).start_times(self.phi_start, len(self.class_names))


@dataclass(frozen=True)
class _Header:
    """As in `CoefficientPath`."""

    class_names: tuple[str, ...]
    data: str
    model: str
    form: str | None = _FIRST_FORM
    phi_start: float | None = None

    def __post_init__(self) -> None:
        if self.form is not None:
            FORMS.make(self.form)


def write_coefficients(path: Path, along: CoefficientPath) -> None:
    """Write Φ along a run as safetensors; of many coefficients at many points, at fewer points."""
    points = thinned(len(along.epochs), along.coefficients.size(1))
    header = {name: getattr(along, name) for name in _Header.__dataclass_fields__}
    tensors = {"coefficients": along.coefficients[points].contiguous(), "epochs": along.epochs[points].contiguous()}
    write_tensor_file(path, "coefficients", tensors, header)


def thinned(points: int, size: int) -> list[int]:
    """Return places among so many points, the first and the last with them, evenly as many as may be kept."""
    kept = max(2, min(points, MOST_NUMBERS // max(size, 1)))
    return sorted(set(torch.linspace(0, points - 1, kept).round().long().tolist()))


def read_coefficients(path: Path) -> CoefficientPath:
    """Read what `write_coefficients` wrote.

    Raises:
        InputError: the file is damaged, or of another kind.
    """
    tensors, fields = read_tensor_file(path, "coefficients")
    header = read_dataclass(_Header, fields, path, _AGAIN)
    if set(tensors) != {"coefficients", "epochs"}:
        raise InputError(f"{path} holds {sorted(tensors)}, but must hold coefficients and epochs: {_AGAIN}")
    require_float32(path, tensors, _AGAIN)
    coefficients, epochs = tensors["coefficients"], tensors["epochs"]
    points, classes = len(epochs) if epochs.dim() else 0, len(header.class_names)
    form = None if header.form is None else FORMS.make(header.form)
    fits = coefficients.dim() > 1 and len(coefficients) == points > 0
    if fits and form is not None:
        fits = coefficients[0].numel() == form.size(classes)
    if not fits or epochs.dim() != 1:
        raise InputError(
            f"{path} holds coefficients of {tuple(coefficients.shape)} at epochs of {tuple(epochs.shape)} for "
            f"{classes} classes, which do not fit: {_AGAIN}"
        )
    flat = coefficients.flatten(1)
    return CoefficientPath(flat, epochs, header.class_names, header.data, header.model, header.form, header.phi_start)
