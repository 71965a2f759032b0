"""Trained students on disk: weights and buffers, which are read without pickle."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fairseq_dlf.core.files.fields import read_dataclass
from fairseq_dlf.core.files.tensor_file import read_tensor_file, require_float32, write_tensor_file
from fairseq_dlf.core.support.digests import tensor_digest
from fairseq_dlf.core.support.errors import InputError, MissingFileError

_AGAIN = "train that student again"


@dataclass(frozen=True)
class StudentFile:
    """A student read from disk, on the CPU.

    Attributes:
        path: of the file.
        model: name of the student's model.
        tensors: the module's state by name.
    """

    path: Path
    model: str
    tensors: Mapping[str, Tensor]

    @property
    def digest(self) -> str:
        """The first 8 hex digits of SHA-256 over the tensors in order of their names."""
        return tensor_digest(self.tensors[name] for name in sorted(self.tensors))

    def load_into(self, module: nn.Module) -> None:
        """Write the state into a module.

        Raises:
            InputError: the module is of another kind or size.
        """
        wanted = _state(module)
        misfit = self._misfit(wanted)
        if misfit is not None:
            raise InputError(
                f"the student {self.path}, a {self.model}, does not fit the model that is wanted ({misfit}): give "
                f"the model {self.model} and the data that it was trained on",
                setting="model",
            )
        module.load_state_dict(dict(self.tensors), strict=False)

    def _misfit(self, wanted: Mapping[str, Tensor]) -> str | None:
        """Return the first thing that does not fit, in words; None if everything fits."""
        for name in sorted(set(wanted) ^ set(self.tensors)):
            return f"{name} is {'missing' if name in wanted else 'too many'}"
        for name, tensor in self.tensors.items():
            for part in ("shape", "dtype"):
                has, wants = (str(getattr(each, part)) for each in (tensor, wanted[name]))
                if has != wants:
                    return f"the {part} of {name} is {has}, wanted {wants}"
        return None


@dataclass(frozen=True)
class _Header:
    """The header of a student's file; the fields are those of `StudentFile`."""

    model: str


def _state(module: nn.Module) -> dict[str, Tensor]:
    """Return the module's state by name, without what belongs to the loss: students are the same for every loss."""
    return {name: tensor for name, tensor in module.state_dict().items() if name != "of_loss"}


def write_student(path: Path, module: nn.Module, model: str) -> None:
    """Write the module's state as safetensors."""
    write_tensor_file(path, "student", _state(module), {"model": model})


def read_student(path: Path) -> StudentFile:
    """Read what `write_student` wrote.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is damaged, of another kind, or its weights are not finite float32.
    """
    if not path.is_file():
        raise MissingFileError(
            f"student file {path} does not exist: pass the best.safetensors that "
            "`python -m fairseq_dlf.images train` has written",
            setting="student",
        )
    tensors, fields = read_tensor_file(path, "student")
    header = read_dataclass(_Header, fields, path, _AGAIN)
    # Batch normalisation counts its batches in whole numbers.
    counts = {name for name, tensor in tensors.items() if tensor.dtype == torch.int64 and tensor.dim() == 0}
    require_float32(path, {name: tensor for name, tensor in tensors.items() if name not in counts}, _AGAIN)
    return StudentFile(path, header.model, tensors)
