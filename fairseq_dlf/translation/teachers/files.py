"""Teachers of translation on disk: fairseq checkpoints and their exports, read without pickle."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary
from torch import Tensor

from fairseq_dlf.core.support.tensor_file import read_tensor_file, write_tensor_file
from fairseq_dlf.core.teaching.teachers import AttentionTeacher, Teacher
from fairseq_dlf.translation.bleu.progress import FEATURES
from fairseq_dlf.translation.hooks.dictionaries import dictionary_fingerprint

TASK_STATE_KEY = "dlf_teacher_header"
MODEL_PREFIX = "teacher."


@dataclass(frozen=True)
class TeacherHeader:
    """What must be known of a teacher before it is used.

    Attributes:
        features: names of the progress features, in order.
        dictionary: fingerprint of the target dictionary.
        types: size of the target dictionary.
        signature: how it was taught.
    """

    features: Sequence[str]
    dictionary: str
    types: int
    signature: str

    @classmethod
    def from_mapping(cls, fields: Mapping[str, Any], path: Path) -> "TeacherHeader":
        missing = {"features", "dictionary", "types", "signature"} - set(fields)
        if missing:
            raise ValueError(
                f"{path} has an incomplete teacher header, without {sorted(missing)}: export the teacher again"
            )
        return cls(
            list(fields["features"]),
            str(fields["dictionary"]),
            int(fields["types"]),
            str(fields["signature"]),
        )


@dataclass(frozen=True)
class TeacherFile:
    """A teacher read from disk, on the CPU, without gradients."""

    teacher: Teacher
    header: TeacherHeader


def read_teacher(path: str, dictionary: Dictionary) -> TeacherFile:
    """Reads a teacher and checks that it fits the target dictionary.

    Args:
        path: a checkpoint of `dlf_teaching` (.pt) or an exported .safetensors file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, of another kind, or for other data.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"teacher file {path} does not exist: pass the checkpoint_best.pt of a dlf_teaching run, "
            "or the .safetensors file beside it"
        )
    read = _read_checkpoint(file) if _is_zip(file) else _read_safetensors(file)
    _require_fit(read, file, dictionary)
    read.teacher.requires_grad_(False)
    return read


def export_checkpoint(checkpoint: Path) -> Path:
    """Writes the teacher of a fairseq checkpoint beside it as safetensors; returns the new path."""
    read = _read_checkpoint(checkpoint)
    target = checkpoint.with_suffix(".safetensors")
    write_safetensors(target, read)
    return target


def write_safetensors(path: Path, teacher: TeacherFile) -> None:
    """Writes a teacher and its header; a failure leaves no half-written file behind."""
    write_tensor_file(path, "teacher", teacher.teacher.state_dict(), asdict(teacher.header))


def _is_zip(file: Path) -> bool:
    with file.open("rb") as handle:
        return handle.read(2) == b"PK"


def _read_safetensors(file: Path) -> TeacherFile:
    tensors, header = read_tensor_file(file, "teacher")
    return TeacherFile(AttentionTeacher.from_tensors(tensors), TeacherHeader.from_mapping(header, file))


def _read_checkpoint(file: Path) -> TeacherFile:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{file} cannot be read as a fairseq checkpoint; it is damaged, or holds objects that are not "
            f"safe to load ({str(error).splitlines()[0]}): pass a checkpoint of a dlf_teaching run"
        ) from error
    header = state.get("task_state", {}).get(TASK_STATE_KEY) if isinstance(state, dict) else None
    if header is None:
        raise ValueError(f"{file} is a checkpoint, but not of a teacher: pass one that --task dlf_teaching has written")
    tensors: dict[str, Tensor] = {name.removeprefix(MODEL_PREFIX): value for name, value in state["model"].items()}
    return TeacherFile(AttentionTeacher.from_tensors(tensors), TeacherHeader.from_mapping(header, file))


def _require_fit(read: TeacherFile, file: Path, dictionary: Dictionary) -> None:
    header, sizes = read.header, read.teacher
    if list(header.features) != list(FEATURES) or sizes.features != len(FEATURES):
        raise ValueError(
            f"teacher {file} reads {sizes.features} features {list(header.features)}, translation has "
            f"{len(FEATURES)}, {list(FEATURES)}: pass a teacher taught by --task dlf_teaching"
        )
    if sizes.coefficients != len(dictionary):
        raise ValueError(
            f"teacher {file} was trained on {sizes.coefficients:,} target types, this dictionary has "
            f"{len(dictionary):,}: pass the data-bin that the teacher was trained on"
        )
    if header.dictionary != dictionary_fingerprint(dictionary):
        raise ValueError(
            f"teacher {file} was trained with another target dictionary (fingerprint {header.dictionary}, this "
            f"one has {dictionary_fingerprint(dictionary)}): pass the data-bin that the teacher was trained on"
        )
