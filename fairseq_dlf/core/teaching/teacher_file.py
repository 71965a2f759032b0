"""Teachers on disk: safetensors with a header, in the same format for every front end."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from fairseq_dlf.core.files.fields import read_dataclass
from fairseq_dlf.core.files.tensor_file import read_tensor_file, require_float32, write_tensor_file
from fairseq_dlf.core.support.digests import tensor_digest
from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.core.teaching.forms.form import FORMS
from fairseq_dlf.core.teaching.teachers.teacher import TEACHERS, Teacher

# The headers of the first version do not name the kind.
FIRST_KIND = "attention"


@dataclass(frozen=True)
class TeacherHeader:
    """Facts about a teacher that its use depends on.

    Attributes:
        kind: of teacher, a name in `TEACHERS`.
        form: of Φ, a text that `FORMS.make` accepts.
        features: names of s_t, in order.
        signature: everything that the teacher depends on.
        fits: what else the front end must know to use it, by name, such as facts that the data must agree with.
    """

    kind: str
    form: str
    features: tuple[str, ...]
    signature: str
    fits: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, header: Mapping[str, Any], path: Path, first_form: str) -> "TeacherHeader":
        """Read a header that this version or the first one wrote.

        Args:
            header: fields by name, from a file.
            path: of that file, for messages.
            first_form: the form of teachers whose header does not name it.

        Raises:
            InputError: a field is missing or of another type.
        """
        if not isinstance(header, Mapping):
            raise InputError(f"{path} has a {type(header).__name__} for a teacher header: export the teacher again")
        known: dict[str, Any] = {"kind": FIRST_KIND, "form": first_form, **header}
        own = set(cls.__dataclass_fields__)
        if "fits" not in header:
            known["fits"] = {name: known.pop(name) for name in header if name not in own}
        return read_dataclass(cls, known, path, "export the teacher again")

    def fit(self, name: str, kind: type, path: Path) -> Any:
        """Return a field of `fits` after checking its type.

        Raises:
            InputError: the field is missing or of another type.
        """
        value = self.fits.get(name)
        right = isinstance(value, (int, float)) if kind is float else isinstance(value, kind)
        if not right or isinstance(value, bool):
            raise InputError(
                f"{path} is a teacher whose header has {name} = {value!r}, wanted a {kind.__name__}: pass a teacher "
                "of this front end"
            )
        return kind(value)


@dataclass(frozen=True)
class TeacherFile:
    """A teacher read from disk, on the CPU, without gradients."""

    teacher: Teacher
    header: TeacherHeader
    path: Path

    @property
    def digest(self) -> str:
        """The first 8 hex digits of SHA-256 over θ and the teacher's other tensors."""
        return tensor_digest(self.teacher.state_dict().values())


def write_teacher(path: Path, teacher: Teacher, header: TeacherHeader) -> None:
    """Write a teacher and its header; a failure leaves no half-written file behind."""
    write_tensor_file(path, "teacher", teacher.state_dict(), asdict(header))


def read_teacher(path: Path, first_form: str, advice: str) -> TeacherFile:
    """Read what `write_teacher` wrote; whether it fits the data is for the front end to check.

    Args:
        first_form: the form of teachers whose header does not name it.
        advice: what to pass where there is no such file.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is damaged, or of another kind.
    """
    if not path.is_file():
        raise MissingFileError(f"teacher file {str(path)!r} does not exist: {advice}", setting="teacher")
    tensors, header = read_tensor_file(path, "teacher")
    return teacher_of(tensors, TeacherHeader.from_mapping(header, path, first_form), path)


def teacher_of(tensors: Mapping[str, Tensor], header: TeacherHeader, path: Path) -> TeacherFile:
    """Return the teacher of a file's tensors.

    Raises:
        InputError: they are not those of the kind that the header names, or form or kind are unknown.
    """
    require_float32(path, tensors, "pass another teacher")
    try:
        FORMS.make(header.form)
        entry: Any = TEACHERS[header.kind]
        teacher: Teacher = entry.from_tensors(tensors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return TeacherFile(teacher.requires_grad_(False), header, path)
