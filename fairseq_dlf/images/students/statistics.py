"""What a teacher may read of a student of images, by the name that its kind gives."""

from typing import Protocol

from torch import Tensor

from fairseq_dlf.core.hypergradient.student import Buffers, Student
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.teaching.forms import Form
from fairseq_dlf.images.data.splits import ImageSet
from fairseq_dlf.images.students import confusion, progress

PROGRESS, CONFUSION = "progress", "confusion"


class Statistics(Protocol):
    """What s_t is measured by."""

    def measure(self, student: Student, params: Tensor, buffers: Buffers) -> Tensor:
        """Return s at one ω without its first feature, the share of completed updates: (features − 1,), float32."""


def features_of(statistics: str, classes: int, form: Form) -> tuple[str, ...]:
    """Return the names of the features of s_t, in the order of the teacher's columns.

    Raises:
        InputError: students of images have no such statistics.
    """
    _require_known(statistics)
    return progress.features(classes) if statistics == PROGRESS else confusion.features(classes, form)


def statistics_of(statistics: str, train: ImageSet, dev: ImageSet, classes: int, form: Form) -> Statistics:
    """Return what measures a student on fixed samples of train and dev.

    Raises:
        InputError: students of images have no such statistics.
    """
    _require_known(statistics)
    if statistics == PROGRESS:
        return progress.StudentProgress(train, dev, classes)
    return confusion.StudentConfusion(dev, classes, form)


def _require_known(statistics: str) -> None:
    if statistics not in (PROGRESS, CONFUSION):
        raise InputError(
            f"the teacher reads the statistics {statistics!r}, but students of images have {PROGRESS} and {CONFUSION}: "
            "take another teacher",
            setting="teacher",
        )
