"""A part of a longer run, which an estimator learns from as from a lesson of its own."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.episode import Measure
from fairseq_dlf.core.hypergradient.student import Buffers, Student
from fairseq_dlf.core.hypergradient.update_rules import StudentState, UpdateRule
from fairseq_dlf.core.teaching.guidance import Guidance
from fairseq_dlf.core.teaching.lesson import Lesson, LessonStep
from fairseq_dlf.core.teaching.teachers.teacher import Memory, Teacher


@dataclass(frozen=True)
class Window:
    """Updates first … first + updates − 1 of a run, begun from where the student is; a `Lesson`.

    Steps and s_t are those of the run. The student is observed once, before the first update. Its buffers begin as
    they are in its module.

    Attributes:
        whole: the run.
        first: number of the first update in the run.
        updates: K.
        start: the student before the first update.
        memory: what the teacher remembers there.
        reached: the figure of the window before that its estimator compares this one with; None if there is none.
    """

    whole: Lesson
    first: int
    updates: int
    start: StudentState
    memory: Memory = ()
    reached: float | None = None

    @property
    def student(self) -> Student:
        return self.whole.student

    @property
    def rule(self) -> UpdateRule:
        return self.whole.rule

    @property
    def measure(self) -> Measure:
        return self.whole.measure

    @property
    def interval(self) -> int:
        return self.updates

    @property
    def shares(self) -> Tensor:
        """t / T of each update, (K,), where T is the length of the run."""
        return torch.arange(self.first, self.first + self.updates) / self.whole.updates

    def step(self, t: int) -> LessonStep:
        return self.whole.step(self.first + t)

    def observe(self, t: int, params: Tensor, buffers: Buffers) -> Tensor:
        return self.whole.observe(self.first + t, params, buffers)

    def guidance(self, teacher: Teacher, features: int) -> Guidance:
        """Return the teacher's coefficients along the window, from what it remembers."""
        return Guidance(self, teacher, features, self.memory, self.shares)
