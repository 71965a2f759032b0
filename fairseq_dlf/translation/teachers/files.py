"""Teachers of translation on disk: fairseq checkpoints and their exports, which are read without pickle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairseq.data import Dictionary
from torch import Tensor

from fairseq_dlf.core.support.errors import InputError, MissingFileError
from fairseq_dlf.core.teaching import teacher_file
from fairseq_dlf.core.teaching.forms import FORMS
from fairseq_dlf.core.teaching.teacher_file import TeacherFile, TeacherHeader, teacher_of, write_teacher
from fairseq_dlf.translation.bleu.progress import FEATURES
from fairseq_dlf.translation.hooks.checkpoint_files import load_checkpoint
from fairseq_dlf.translation.hooks.dictionaries import dictionary_fingerprint
from fairseq_dlf.translation.regularisers import REGULARISERS, Regularisers

TASK_STATE_KEY = "dlf_teacher_header"
MODEL_PREFIX = "teacher."
# Within the header's facts; absent from teachers without regularisers.
REGULARISERS_KEY = "regularisers"
# The form of teachers whose header does not name it.
FIRST_FORM = "diagonal"
_ADVICE = "pass the checkpoint_best.pt of a dlf_teaching run, or the .safetensors file beside it"


def header_of(kind: str, form: str, dictionary: Dictionary, signature: str, regularisers: str = "") -> TeacherHeader:
    """Return the header of a teacher that is taught on these target types; without regularisers it names none."""
    fits: dict[str, Any] = {"dictionary": dictionary_fingerprint(dictionary), "types": len(dictionary)}
    if regularisers:
        fits[REGULARISERS_KEY] = regularisers
    return TeacherHeader(kind, form, FEATURES, signature, fits)


def regularisers_of(read: TeacherFile) -> Regularisers:
    """Return the regularisers whose weights a teacher gives behind Φ; none if its header names none.

    Raises:
        InputError: the header is damaged, or names a regulariser that does not exist.
    """
    if REGULARISERS_KEY not in read.header.fits:
        return ()
    named = read.header.fit(REGULARISERS_KEY, str, read.path)
    try:
        return REGULARISERS.make_each(named)
    except InputError as error:
        raise InputError(f"{read.path}: {error}") from error


def read_teacher(path: str, dictionary: Dictionary) -> TeacherFile:
    """Read a teacher and check that it fits the target dictionary.

    Args:
        path: a checkpoint of `dlf_teaching` (.pt) or an exported .safetensors file.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is damaged, of another kind, or for other data.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingFileError(f"teacher file {path or repr(path)} does not exist: {_ADVICE}", setting="teacher")
    is_checkpoint = file.suffix == ".pt" or _is_zip(file)
    read = _read_checkpoint(file) if is_checkpoint else teacher_file.read_teacher(file, FIRST_FORM, _ADVICE)
    _require_fit(read, dictionary)
    return read


def export_checkpoint(checkpoint: Path) -> Path:
    """Write the teacher of a fairseq checkpoint beside it as safetensors; return the new path."""
    read = _read_checkpoint(checkpoint)
    target = checkpoint.with_suffix(".safetensors")
    write_teacher(target, read.teacher, read.header)
    return target


def _is_zip(file: Path) -> bool:
    with file.open("rb") as handle:
        return handle.read(2) == b"PK"


def _read_checkpoint(file: Path) -> TeacherFile:
    state = load_checkpoint(file, "a checkpoint of a dlf_teaching run")
    header: Mapping[str, Any] | None = state["task_state"].get(TASK_STATE_KEY)
    if header is None:
        raise InputError(f"{file} is a checkpoint, but not of a teacher: {_ADVICE}")
    tensors: dict[str, Tensor] = {name.removeprefix(MODEL_PREFIX): value for name, value in state["model"].items()}
    return teacher_of(tensors, TeacherHeader.from_mapping(header, file, FIRST_FORM), file)


def _require_fit(read: TeacherFile, dictionary: Dictionary) -> None:
    header, teacher, path = read.header, read.teacher, read.path
    if header.features != FEATURES or teacher.features not in (None, len(FEATURES)):
        raise InputError(
            f"teacher {path} reads {teacher.features} features {list(header.features)}, translation has "
            f"{len(FEATURES)}, {list(FEATURES)}: pass a teacher taught by --task dlf_teaching"
        )
    types, form = len(dictionary), FORMS.make(header.form)
    if not form.portable:
        _require_types(read, dictionary)
    regularisers = regularisers_of(read)
    wanted = form.size(types) + len(regularisers)
    if teacher.coefficients != wanted:
        weights = f" with {len(regularisers)} weights of regularisers" if regularisers else ""
        raise InputError(
            f"teacher {path} gives {teacher.coefficients:,} coefficients, but the form {header.form} of {types:,} "
            f"target types{weights} has {wanted:,}: {_ADVICE}"
        )


def _require_types(read: TeacherFile, dictionary: Dictionary) -> None:
    """Raise InputError unless the teacher was taught on these target types."""
    header, path = read.header, read.path
    types, fingerprint = header.fit("types", int, path), header.fit("dictionary", str, path)
    if types != len(dictionary):
        raise InputError(
            f"teacher {path} was trained on {types:,} target types, this dictionary has "
            f"{len(dictionary):,}: pass the data-bin that the teacher was trained on"
        )
    if fingerprint != dictionary_fingerprint(dictionary):
        raise InputError(
            f"teacher {path} was trained with another target dictionary (fingerprint {fingerprint}, this "
            f"one has {dictionary_fingerprint(dictionary)}): pass the data-bin that the teacher was trained on"
        )
