"""What a front end provides to teaching: a student's run without its coefficients."""

from typing import Any, NamedTuple, Protocol

from torch import Tensor

from fairseq_dlf.core.hypergradient.episode import Measure
from fairseq_dlf.core.hypergradient.student import Buffers, Student
from fairseq_dlf.core.hypergradient.update_rules import StudentState, UpdateRule


class LessonStep(NamedTuple):
    """Everything that a student's update depends on besides its state and Φ.

    Attributes:
        batch: the front end's batch.
        seed: of the dropout masks.
        learning_rate: η_t.
    """

    batch: Any
    seed: int
    learning_rate: float


class Course(Protocol):
    """A student's run of T updates that a teacher can guide.

    Attributes:
        student: the student; its parameters' device is the run's.
        updates: T.
        interval: updates between two observations of the student; T if it is observed at the start only.
    """

    @property
    def student(self) -> Student: ...

    @property
    def updates(self) -> int: ...

    @property
    def interval(self) -> int: ...

    def step(self, t: int) -> LessonStep:
        """Return what update t needs, the same at every call for the same t."""

    def observe(self, t: int, params: Tensor, buffers: Buffers) -> Tensor:
        """Measure the student before update t: s_t without its first feature, t / T; each in [0, 1].

        Returns:
            (features − 1,), float32.
        """


class Lesson(Course, Protocol):
    """A course with a start and a measure of its end: what an estimator learns from.

    Attributes:
        rule: the student's update rule.
        start: the student before the first update.
        measure: M̃ on dev data.
    """

    @property
    def rule(self) -> UpdateRule: ...

    @property
    def start(self) -> StudentState: ...

    @property
    def measure(self) -> Measure: ...
