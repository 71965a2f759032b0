"""Teachers of image classification on disk, and the check that one fits the data."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fairseq_dlf.core.support.tensor_file import read_tensor_file, write_tensor_file
from fairseq_dlf.core.teaching.teachers.attention import Teacher
from fairseq_dlf.images.data.splits import ImageData
from fairseq_dlf.images.students.progress import features


@dataclass(frozen=True)
class TeacherHeader:
    """What must be known of a teacher before it is used.

    Attributes:
        class_names: names of the classes, in order.
        features: names of the progress features, in order.
        data: kind of the data that it was taught on.
        model: model that it was taught on.
        ce_share: share of cross-entropy in the loss that it was taught with.
        signature: how it was taught.
    """

    class_names: tuple[str, ...]
    features: tuple[str, ...]
    data: str
    model: str
    ce_share: float
    signature: str

    @classmethod
    def from_mapping(cls, fields: Mapping[str, Any], path: Path) -> "TeacherHeader":
        missing = set(cls.__dataclass_fields__) - set(fields)
        if missing:
            raise ValueError(
                f"{path} is a teacher without {sorted(missing)} in its header: pass one that "
                "`python -m fairseq_dlf.images teach` has written"
            )
        return cls(
            tuple(fields["class_names"]),
            tuple(fields["features"]),
            str(fields["data"]),
            str(fields["model"]),
            float(fields["ce_share"]),
            str(fields["signature"]),
        )


@dataclass(frozen=True)
class TeacherFile:
    """A teacher read from disk, on the CPU, without gradients."""

    teacher: Teacher
    header: TeacherHeader

    @property
    def digest(self) -> str:
        """The first 8 hex digits of SHA-256 over θ."""
        content = b"".join(parameter.detach().cpu().numpy().tobytes() for parameter in self.teacher.parameters())
        return hashlib.sha256(content).hexdigest()[:8]


def write_teacher(path: Path, teacher: Teacher, header: TeacherHeader) -> None:
    """Writes a teacher and its header as safetensors."""
    write_tensor_file(path, "teacher", teacher.state_dict(), asdict(header))


def read_teacher(path: Path, data: ImageData) -> TeacherFile:
    """Reads a teacher and checks that it fits the data.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, of another kind, or for other classes.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"teacher file {path} does not exist: pass the teacher.safetensors that "
            "`python -m fairseq_dlf.images teach` has written"
        )
    tensors, header = read_tensor_file(path, "teacher")
    teacher = Teacher.from_tensors(tensors).requires_grad_(False)
    read = TeacherFile(teacher, TeacherHeader.from_mapping(header, path))
    _require_fit(read, path, data)
    return read


def _require_fit(read: TeacherFile, path: Path, data: ImageData) -> None:
    header, sizes = read.header, read.teacher.sizes
    if len(header.class_names) != data.classes:
        raise ValueError(
            f"teacher {path} was taught on {len(header.class_names)} classes, {data.name} has {data.classes}: "
            "pass a teacher of these data"
        )
    if header.class_names != data.class_names:
        raise ValueError(
            f"teacher {path} was taught on the classes {_few(header.class_names)}, {data.name} has "
            f"{_few(data.class_names)}: pass a teacher of these data"
        )
    wanted = (data.classes**2, len(features(data.classes)))
    if (sizes.coefficients, sizes.features) != wanted or list(header.features) != features(data.classes):
        raise ValueError(
            f"teacher {path} gives {sizes.coefficients:,} coefficients from {sizes.features} features, {data.name} "
            f"wants {wanted[0]:,} from {wanted[1]}: pass a teacher of `python -m fairseq_dlf.images teach`"
        )


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
