"""Trained students on disk: weights and buffers, read without pickle."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from fairseq_dlf.core.support.tensor_file import read_tensor_file, write_tensor_file


@dataclass(frozen=True)
class StudentFile:
    """A student read from disk, on the CPU.

    Attributes:
        path: where it was.
        model: name of its model.
        tensors: the module's state by name.
    """

    path: Path
    model: str
    tensors: Mapping[str, Tensor]

    @property
    def digest(self) -> str:
        """The first 8 hex digits of SHA-256 over the tensors in order of their names."""
        content = b"".join(self.tensors[name].numpy().tobytes() for name in sorted(self.tensors))
        return hashlib.sha256(content).hexdigest()[:8]

    def load_into(self, module: nn.Module) -> None:
        """Writes the state into a module.

        Raises:
            ValueError: the module is of another kind or size.
        """
        try:
            module.load_state_dict(dict(self.tensors))
        except RuntimeError as error:
            raise ValueError(
                f"the student {self.path}, a {self.model}, does not fit the model asked for "
                f"({str(error).splitlines()[-1].strip()}): pass --model {self.model} and the data it was trained on"
            ) from error


def write_student(path: Path, module: nn.Module, model: str) -> None:
    """Writes the module's state as safetensors."""
    write_tensor_file(path, "student", module.state_dict(), {"model": model})


def read_student(path: Path) -> StudentFile:
    """Reads what `write_student` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or of another kind.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"student file {path} does not exist: pass the best.safetensors that "
            "`python -m fairseq_dlf.images train` has written"
        )
    tensors, header = read_tensor_file(path, "student")
    return StudentFile(path, str(header["model"]), tensors)
