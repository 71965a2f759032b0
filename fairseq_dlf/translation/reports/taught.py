"""A teacher along a run: Φ and the weights of regularisers on a stated path of the student's progress."""

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import torch
from torch import Tensor

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.core.teaching.forms import FORMS, Form
from fairseq_dlf.core.teaching.progress import require_normalised
from fairseq_dlf.core.teaching.teacher_file import TeacherFile
from fairseq_dlf.translation.bleu.progress import FEATURES
from fairseq_dlf.translation.regularisers import Regularisers, start_of
from fairseq_dlf.translation.reports.vocabulary import Vocabulary
from fairseq_dlf.translation.teachers.files import read_teacher, regularisers_of

# The path has so many points, from the first update to the last.
POINTS = 101
# BLEU along a run that nobody has measured: together with the share of the run that is done.
TOGETHER = (0.0, 100.0)


def path_of_progress(bleu: tuple[float, float] = TOGETHER) -> Tensor:
    """Return the assumed s_t, (POINTS, features): the share done from 0 to 1, and both BLEU features linear beside it.

    Args:
        bleu: greedy BLEU of the student at the beginning and at the end, in points.

    Raises:
        InputError: BLEU is outside of 0 to 100.
    """
    if not all(0.0 <= value <= 100.0 for value in bleu):
        raise InputError(f"BLEU along the run is {bleu[0]:g} to {bleu[1]:g}, but must lie in [0, 100]", "bleu")
    share = torch.linspace(0.0, 1.0, POINTS)
    low, high = (value / 100 for value in bleu)
    measured = low + (high - low) * share
    path = torch.stack([share, *[measured] * (len(FEATURES) - 1)], dim=1)
    require_normalised(path.flatten())
    return path


@dataclass(frozen=True)
class TaughtTeacher:
    """A teacher's coefficients along a run.

    Attributes:
        label: by which reports name it.
        file: where it was read from.
        form: of Φ, fitted to the dictionary.
        regularisers: whose weights it chooses.
        phi: Φ_t, (POINTS, form's size), float32.
        weights: of the regularisers, (POINTS, regularisers).
        untaught: Φ before teaching, (form's size,); None where the signature does not tell.
    """

    label: str
    file: TeacherFile
    form: Form
    regularisers: Regularisers
    phi: Tensor
    weights: Tensor
    untaught: Optional[Tensor]

    @property
    def reads_progress(self) -> bool:
        """Return whether Φ depends on what a student is measured to have reached, and so on an assumption."""
        return self.file.teacher.reads_progress

    @property
    def mean(self) -> Tensor:
        """Return Φ averaged over the run, (form's size,)."""
        return self.phi.mean(dim=0)

    @property
    def moves(self) -> Tensor:
        """Return the move of each coefficient from the beginning of the run to its end, (form's size,)."""
        return self.phi[-1] - self.phi[0]


def read_taught(path: Path, label: str, vocabulary: Vocabulary, progress: Tensor) -> TaughtTeacher:
    """Read a teacher as the criterion `dlf` does, and evaluate it along a path of s_t.

    Args:
        path: a checkpoint of `dlf_teaching`, or its export.
        progress: s_t, (points, features).

    Raises:
        MissingFileError: there is no such file.
        InputError: it is damaged, of another front end, for another dictionary, or remembers earlier steps.

    Cost: one forward pass of the teacher; no student is needed.
    """
    read = read_teacher(str(path), vocabulary.dictionary)
    if read.teacher.start():
        raise InputError(
            f"teacher {path} is of the kind {read.header.kind}, which remembers earlier steps: its Φ depends on all "
            "that it has seen of a student, which its file does not tell; pass a teacher without a memory",
            setting="teacher",
        )
    form = FORMS.make(read.header.form).fitted(vocabulary.facts)
    regularisers = regularisers_of(read)
    with torch.no_grad():
        found = read.teacher.along(progress)
    size = form.size(len(vocabulary))
    untaught = _untaught(read, form, len(vocabulary))
    return TaughtTeacher(label, read, form, regularisers, found[:, :size], found[:, size:], untaught)


def _untaught(read: TeacherFile, form: Form, types: int) -> Optional[Tensor]:
    """Return Φ before teaching, by the signature."""
    try:
        scale = float(Signature.parse(read.header.signature).get("phi_start", "1"))
        return start_of(form, (), types, scale)
    except ValueError:
        return None
