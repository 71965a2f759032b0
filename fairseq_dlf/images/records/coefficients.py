"""Φ along a student's run, on disk."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fairseq_dlf.core.files.fields import read_dataclass
from fairseq_dlf.core.files.tensor_file import read_tensor_file, require_float32, write_tensor_file
from fairseq_dlf.core.support.errors import InputError

PATH_NAME = "coefficients.safetensors"
_AGAIN = "delete it and train or teach again"


@dataclass(frozen=True)
class CoefficientPath:
    """Φ along a student's run.

    Attributes:
        coefficients: (points, classes, classes), float32; row y belongs to images of class y.
        epochs: of the student's run at each point, (points,), float32.
        class_names: in order.
        data, model: names.
    """

    coefficients: Tensor
    epochs: Tensor
    class_names: tuple[str, ...]
    data: str
    model: str


@dataclass(frozen=True)
class _Header:
    """As in `CoefficientPath`."""

    class_names: tuple[str, ...]
    data: str
    model: str


def write_coefficients(path: Path, along: CoefficientPath) -> None:
    """Write Φ along a run as safetensors."""
    header = {"class_names": along.class_names, "data": along.data, "model": along.model}
    write_tensor_file(path, "coefficients", {"coefficients": along.coefficients, "epochs": along.epochs}, header)


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
    if not points or epochs.dim() != 1 or coefficients.shape != (points, classes, classes):
        raise InputError(
            f"{path} holds coefficients of {tuple(coefficients.shape)} at epochs of {tuple(epochs.shape)} for "
            f"{classes} classes, which do not fit: {_AGAIN}"
        )
    return CoefficientPath(coefficients, epochs, header.class_names, header.data, header.model)
