"""A teacher's coefficients along a student's course: the progress that it sees, and Φ_t."""

import torch
from torch import Tensor

from fairseq_dlf.core.hypergradient.student import Buffers
from fairseq_dlf.core.hypergradient.unroll import Step
from fairseq_dlf.core.teaching.lesson import Course
from fairseq_dlf.core.teaching.progress import require_normalised
from fairseq_dlf.core.teaching.teachers.stochastic import StochasticTeacher
from fairseq_dlf.core.teaching.teachers.teacher import Memory, Teacher


def opening(course: Course, teacher: Teacher, explores: bool = False) -> Memory:
    """Return what a teacher remembers before a course.

    Args:
        explores: whether a teacher that can draw its actions draws them, as for learning.
    """
    return teacher.begin(course.step(0).seed, explores) if isinstance(teacher, StochasticTeacher) else teacher.start()


class Guidance:
    """Φ_t for t = 0 … T − 1, from a teacher that sees the student's progress.

    `observe` and `source` go to `unroll` or `run_episode`. The student is observed on the
    forward pass, every `course.interval` updates; in between only t / T moves. What was seen
    is kept, so that the reverse pass replays the same Φ_t, in any order.

    Args:
        course: the student's run.
        teacher: on the device of the run.
        features: how many numbers s_t has; the first is t / T.
        memory: what the teacher remembers before the first update; by default what `opening` says.
        shares: t / T of the updates, (T,), where the course is a part of a longer run.

    Attributes:
        progress: s_t, (T, features), in the dtype of the teacher; rows are filled in on the forward pass.

    Cost: one observation and one forward of the teacher for each interval.
    """

    def __init__(
        self,
        course: Course,
        teacher: Teacher,
        features: int,
        memory: Memory | None = None,
        shares: Tensor | None = None,
    ):
        self.course = course
        self.teacher = teacher
        like = next(teacher.parameters())
        self.progress = torch.zeros(course.updates, features, device=like.device, dtype=like.dtype)
        self.progress[:, 0] = torch.arange(course.updates) / course.updates if shares is None else shares
        self._seen: set[int] = set()
        self._opening = opening(course, teacher) if memory is None else memory
        # What the teacher remembers before each interval, and Φ within the latest one.
        self._memories: dict[int, Memory] = {0: self._opening}
        self._block: tuple[int, Tensor] | None = None

    def observe(self, t: int, params: Tensor, buffers: Buffers) -> None:
        """Observe the student before update t, if an observation is due and was not made before."""
        if t % self.course.interval or t in self._seen or not self.teacher.reads_progress:
            return
        measured = self.course.observe(t, params, buffers)
        require_normalised(measured)
        self.progress[t : t + self.course.interval, 1:] = measured.to(self.progress)
        self._seen.add(t)
        self._block = None

    def source(self, t: int) -> Step:
        """Return everything that update t depends on."""
        return Step(self.coefficients(t), *self.course.step(t))

    def coefficients(self, t: int) -> Tensor:
        """Return Φ_t, (coefficients,), without a graph."""
        begin = t - t % self.course.interval
        if self._block is None or self._block[0] != begin:
            self._block = begin, self._answer(begin)
        return self._block[1][t - begin]

    def observed(self) -> list[int]:
        """Return the updates before which the student is observed."""
        return list(range(0, self.course.updates, self.course.interval))

    def memory(self, begin: int | None = None) -> Memory:
        """Return what the teacher remembers before the interval that begins at an update, by default after the last."""
        wanted = self.observed()[-1] + self.course.interval if begin is None else begin
        if wanted not in self._memories:
            self._answer(wanted - self.course.interval)
        return self._memories[wanted]

    def along(self, progress: Tensor) -> Tensor:
        """Return Φ_t of the whole course for s_t, (T, coefficients), with a graph to θ."""
        found: Tensor = self.teacher(progress, self._opening)[0]
        return found

    def of(self, teacher: Teacher) -> "Guidance":
        """Return another teacher's guidance along the same course, before any observation."""
        return Guidance(self.course, teacher, self.progress.size(1), self._opening, self.progress[:, 0])

    def restore(self, progress: Tensor, done: int) -> None:
        """Go on with a run of which `done` updates were made, from the progress that it saw."""
        self.progress.copy_(progress)
        self._seen = set(range(0, done, self.course.interval))
        self._memories = {0: self._opening}
        self._block = None

    def _answer(self, begin: int) -> Tensor:
        """Return Φ of the interval that begins at an update, (interval, coefficients)."""
        # The intervals before it may have been answered by another process, or not in order.
        reached = max(known for known in self._memories if known <= begin)
        with torch.no_grad():
            for first in range(reached, begin + 1, self.course.interval):
                last = first + self.course.interval
                rows = self.progress[first:last]
                asked = rows[:1] if self.teacher.acts_when_observed else rows
                coefficients, self._memories[last] = self.teacher(asked, self._memories[first])
        return coefficients.expand(len(rows), -1)
