"""Files of teachers for image classification: their headers, and the check that a teacher fits the data."""

from pathlib import Path

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching import teacher_file
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.teacher_file import TeacherFile, TeacherHeader
from fairseq_dlf.core.teaching.teachers import TEACHERS
from fairseq_dlf.images.data.splits import ImageData
from fairseq_dlf.images.students.statistics import features_of
from fairseq_dlf.images.students.tasks import CLASSIFICATION, Task

# The form of teachers whose header does not name it.
FIRST_FORM = "matrix"
_ADVICE = "pass the teacher.safetensors that `python -m fairseq_dlf.images teach` has written"


def header_of(
    data: ImageData,
    model: str,
    kind: str,
    form: str,
    ce_share: float,
    signature: str,
    task: Task,
    phi_start: float,
) -> TeacherHeader:
    """Return the header of a teacher that was taught on these data with this model."""
    names = list(data.class_names)
    fits = {"class_names": names, "data": data.name, "model": model, "ce_share": ce_share, "phi_start": phi_start}
    seen = task.features(TEACHERS[kind].statistics, data.classes, FORMS.make(form))
    return TeacherHeader(kind, form, seen, signature, {**fits, **task.signature})


def read_teacher(path: Path, data: ImageData) -> TeacherFile:
    """Read a teacher and check that it fits the data.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is damaged, of another kind or task, or for other classes.
    """
    read = teacher_file.read_teacher(path, FIRST_FORM, _ADVICE)
    _require_fit(read, data)
    return read


def ce_share_of(read: TeacherFile) -> float:
    """Return the share of cross-entropy in the loss that a teacher was taught with."""
    share: float = read.header.fit("ce_share", float, read.path)
    return share


def model_of(read: TeacherFile) -> str:
    """Return the name of the model that a teacher was taught on."""
    model: str = read.header.fit("model", str, read.path)
    return model


def phi_start_of(read: TeacherFile) -> float | None:
    """Return Φ before teaching, as a multiple of the neutral one; None where the first version wrote the file."""
    return float(read.header.fit("phi_start", float, read.path)) if "phi_start" in read.header.fits else None


def _require_fit(read: TeacherFile, data: ImageData) -> None:
    header, teacher, path = read.header, read.teacher, read.path
    if "task" in header.fits:
        raise InputError(
            f"teacher {path} moves the loss of the task {header.fits['task']} in `adapt`, and guides no other student: "
            f"pass one that was taught on {CLASSIFICATION}",
            setting="teacher",
        )
    names = tuple(map(str, header.fit("class_names", list, path)))
    if len(names) != data.classes:
        raise InputError(
            f"teacher {path} was taught on {len(names)} classes, {data.name} has {data.classes}: "
            "pass a teacher of these data"
        )
    if names != data.class_names and not teacher.portable:
        raise InputError(
            f"teacher {path} was taught on the classes {_few(names)}, {data.name} has "
            f"{_few(data.class_names)}: pass a teacher of these data"
        )
    ce_share = ce_share_of(read)
    if not 0.0 <= ce_share <= 1.0:
        raise InputError(f"teacher {path} was taught with ce_share = {ce_share:g}, wanted 0 to 1: teach it again")
    form = FORMS.make(header.form)
    wanted = form.size(data.classes), features_of(teacher.statistics, data.classes, form)
    fits = teacher.features in (None, len(wanted[1])) and header.features == wanted[1]
    if teacher.coefficients != wanted[0] or not fits:
        raise InputError(
            f"teacher {path} gives {teacher.coefficients:,} coefficients of the form {header.form} from "
            f"{len(header.features)} features, {data.name} wants {wanted[0]:,} from "
            f"{len(wanted[1])}: {_ADVICE}"
        )


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
