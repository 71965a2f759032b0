"""The interface of a task: its losses, their coefficients, what a teacher reads and raises, and what is reported."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from fairseq_dlf.core.hypergradient.episode import Measure
from fairseq_dlf.core.hypergradient.student import Buffers, Student
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.registry import Registry
from fairseq_dlf.core.support.signature import Part
from fairseq_dlf.core.teaching.forms import Form
from fairseq_dlf.images.data.splits import ImageData, ImageSet
from fairseq_dlf.images.losses.registry import Losses
from fairseq_dlf.images.students.statistics import Statistics

# The task where none is named: the paper's.
CLASSIFICATION = "classification"


class Task(ABC):
    """What students of images are trained for.

    A task is a subclass in a file of its own, registered by `TASKS.register(name)`.

    Attributes:
        name: in `TASKS`, which sets it.
        losses: what students can minimise; the first is the baseline.
        adapted: the loss among them whose coefficients a teacher gives.
        value_name: what `value` returns, in the log.
        measure_name: what teaching raises, in the log.
        statistics_read: a kind of statistics that the teacher must read; None where the task offers several.
        has_forms: whether Φ acts through one of the forms, `--form`.
    """

    name: ClassVar[str]
    losses: ClassVar[Losses]
    adapted: ClassVar[str]
    value_name: ClassVar[str]
    measure_name: ClassVar[str]
    statistics_read: ClassVar[str | None] = None
    has_forms: ClassVar[bool] = False

    @property
    def signature(self) -> Part:
        """The field of a signature that tells the task from classification."""
        return {} if self.name == CLASSIFICATION else {"task": self.name}

    def view(self, data: ImageData) -> ImageData:
        """Return the data as the task takes them; by default as they are."""
        return data

    # The coefficients ------------------------------------------------------------------

    @abstractmethod
    def start(self, form: Form, factor: float, classes: int) -> Tensor:
        """Return Φ where teaching starts, the strength of the loss times a factor: (coefficients,), float32."""

    @abstractmethod
    def limits(self, form: Form, classes: int) -> tuple[Tensor, Tensor]:
        """Return the least and the greatest Φ, (coefficients,) each, perhaps infinite."""

    # What a teacher reads, and raises ---------------------------------------------------

    @abstractmethod
    def features(self, statistics: str, classes: int, form: Form) -> tuple[str, ...]:
        """Return the names of the features of s_t, the share of the run first."""

    @abstractmethod
    def statistics(self, statistics: str, train: ImageSet, dev: ImageSet, classes: int, form: Form) -> Statistics:
        """Return what measures a student on fixed samples of train and dev."""

    def measure(self, student: Student, dev: ImageSet) -> Measure | None:
        """Return M̃ on dev images, which teaching raises; None where it is one of `MEASURES`, `--measure`."""
        return None

    # What is reported --------------------------------------------------------------------

    @abstractmethod
    def value(self, student: Student, params: Tensor, buffers: Buffers, images: ImageSet) -> float:
        """Return how good a student is, in [0, 1]; greater is better."""

    @abstractmethod
    def lost(self, student: Student, params: Tensor, buffers: Buffers, images: ImageSet) -> Tensor:
        """Return what a student misses of each image or class, (n,), whose mean is 1 − `value`."""

    def wrong(self, lost: Tensor) -> tuple[int, ...]:
        """Return the places of the images that are answered wrongly, ascending; none where that has no meaning."""
        return ()


TASKS: Registry[Task] = Registry("task", name_attribute="name")


def bounds_of(task: Task, form: Form, classes: int) -> tuple[Tensor, Tensor] | None:
    """Return the limits of Φ, (coefficients,) each; None if there are none."""
    low, high = task.limits(form, classes)
    return (low, high) if bool((low.isfinite() | high.isfinite()).any()) else None


def require_loss(task: Task, loss: str) -> None:
    """Raise InputError for a loss that is not of a task, with the task that it is of."""
    if loss in task.losses:
        return
    others = [name for name in TASKS if loss in TASKS.make(name).losses]
    wanted = f"pass --task {others[0]}, or take" if others else "take"
    raise InputError(
        f"the task {task.name} has no loss {loss}: {wanted} one of {', '.join(sorted(task.losses))}", setting="loss"
    )
