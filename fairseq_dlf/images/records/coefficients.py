"""Φ along a student's run, on disk."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fairseq_dlf.core.support.tensor_file import read_tensor_file, write_tensor_file

PATH_NAME = "coefficients.safetensors"


@dataclass(frozen=True)
class CoefficientPath:
    """Φ along a student's run.

    Attributes:
        coefficients: (points, classes, classes), float32; row y belongs to images of class y.
        epochs: when, (points,), float32.
        class_names: in order.
        data, model: names.
    """

    coefficients: Tensor
    epochs: Tensor
    class_names: tuple[str, ...]
    data: str
    model: str


def write_coefficients(path: Path, found: CoefficientPath) -> None:
    """Writes Φ along a run as safetensors."""
    header = {"class_names": found.class_names, "data": found.data, "model": found.model}
    write_tensor_file(path, "coefficients", {"coefficients": found.coefficients, "epochs": found.epochs}, header)


def read_coefficients(path: Path) -> CoefficientPath:
    """Reads what `write_coefficients` wrote.

    Raises:
        ValueError: the file is damaged, or of another kind.
    """
    tensors, header = read_tensor_file(path, "coefficients")
    try:
        return CoefficientPath(
            tensors["coefficients"], tensors["epochs"], tuple(header["class_names"]), header["data"], header["model"]
        )
    except KeyError as error:
        raise ValueError(f"{path} lacks {error}, which Φ along a run needs: train or teach again") from error
