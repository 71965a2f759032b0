"""The loop that adapts a loss while students train: windows of their runs, each an update of θ, without restarts."""

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from fairseq_dlf.core.files.run_folder import STATE_NAME
from fairseq_dlf.core.hypergradient.student import Buffers
from fairseq_dlf.core.hypergradient.unroll import Unroll, Watch, unroll
from fairseq_dlf.core.hypergradient.update_rules import StudentState
from fairseq_dlf.core.support.checks import require_at_least
from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.signature import Signature
from fairseq_dlf.core.teaching.estimators.estimator import Estimate, Estimator
from fairseq_dlf.core.teaching.guidance import Guidance, opening
from fairseq_dlf.core.teaching.lesson import Lesson
from fairseq_dlf.core.teaching.loop.saved import SavedTeaching
from fairseq_dlf.core.teaching.loop.steps import TeacherSteps, TeachingPlan, Validation, usable_figures
from fairseq_dlf.core.teaching.teacher_file import TeacherHeader
from fairseq_dlf.core.teaching.teachers.teacher import Memory, Teacher
from fairseq_dlf.core.teaching.window import Window

logger = logging.getLogger(__name__)

# Names that a family writes students under.
BEST_STUDENT, LAST_STUDENT = "best", "last"


@dataclass(frozen=True)
class Child:
    """A student between two windows of its run.

    Attributes:
        params: ω, (parameters,).
        slots: what its update rule keeps.
        buffers: of the module, by name.
        memory: what the teacher remembers.
        reached: the figure that the next window is compared with, if its estimator wants one.
        path: Φ in each window so far, (windows, coefficients); the one before its last update.
    """

    params: Tensor
    slots: list[Tensor]
    buffers: dict[str, Tensor]
    memory: list[Tensor]
    reached: float | None
    path: Tensor

    @classmethod
    def at_start(cls, lesson: Lesson, teacher: Teacher) -> "Child":
        """Return the student before its first window, whose teacher explores."""
        start, memory = lesson.start, opening(lesson, teacher, explores=True)
        path = start.params.new_zeros(0, teacher.coefficients)
        return cls(start.params, list(start.slots), lesson.student.buffers(), list(memory), None, path)

    @property
    def state(self) -> StudentState:
        return StudentState(self.params, tuple(self.slots))

    def after(self, end: Unroll, memory: Memory, phi: Tensor, reached: float | None) -> "Child":
        """Return the student after a window, in which Φ was at last `phi`."""
        return Child(
            end.final.params,
            list(end.final.slots),
            dict(end.buffers),
            [each.detach() for each in memory],
            reached,
            torch.cat([self.path, phi.detach().unsqueeze(0).to(self.path)]),
        )

    def to(self, like: "Child") -> "Child":
        """Return the student with each tensor where that of another one is."""
        return Child(
            self.params.to(like.params.device),
            [mine.to(other.device) for mine, other in zip(self.slots, like.slots, strict=True)],
            {name: mine.to(like.buffers[name].device) for name, mine in self.buffers.items()},
            [mine.to(other.device) for mine, other in zip(self.memory, like.memory, strict=True)],
            self.reached,
            self.path.to(like.path.device),
        )

    @property
    def layout(self) -> object:
        """Shapes and types of all that does not grow along the run."""
        tensors = {"params": self.params, **self.buffers}
        for name in ("slots", "memory"):
            tensors |= {f"{name} {place}": each for place, each in enumerate(getattr(self, name))}
        return {name: (each.shape, each.dtype) for name, each in tensors.items()}


@dataclass(frozen=True)
class SavedAdaptation(SavedTeaching):
    """The state of an adaptation in its folder; `children` in the order of their places."""

    children: list[Child] = field(default_factory=list)

    def contents(self) -> dict[str, Any]:
        children = [{each.name: getattr(child, each.name) for each in fields(child)} for child in self.children]
        return {**super().contents(), "children": children}


class Family(Protocol):
    """What a front end provides to the loop: students that are trained side by side.

    Attributes:
        features: names of s_t.
        measure_name, value_name: of M̃ and of the value of a student, for the log.
        children: how many students.
        window: K, updates in a window.
    """

    features: tuple[str, ...]
    measure_name: str
    value_name: str
    children: int
    window: int

    def lesson(self, place: int) -> Lesson:
        """Return the whole run of a student, the same at every call for the same place, with a module of its own."""

    def value(self, lesson: Lesson, params: Tensor, buffers: Buffers) -> float:
        """Return how good a student is on dev; greater is better."""

    def keep(self, folder: Path, name: str, lesson: Lesson, child: Child) -> None:
        """Write a student, and what belongs to it, under the name BEST_STUDENT or LAST_STUDENT."""

    def header(self, signature: str) -> TeacherHeader:
        """Return the header of a teacher file."""

    def watch(self, label: str, lesson: Lesson) -> AbstractContextManager[Watch]:
        """Show the progress of a window."""


class Adaptation(TeacherSteps):
    """Adaptation of a loss in windows of its students' only runs, in a folder where it can be resumed bit for bit.

    A step is a window of each student, one after the other with the same θ, and one update of θ by the mean of their
    losses. A student goes on from where its estimator left it, also after a collapsed window, which the teacher does
    not learn from. What is left of the run after whole windows is trained, and nothing learned from it.

    Args:
        family: the students.
        teacher, estimator, signature, folder: as for `TeacherSteps`.
        plan: as for `TeacherSteps`; its steps are all windows, `windows_of`.
    """

    work = "adapting"
    saved = SavedAdaptation
    _more: ClassVar[str] = "the run is finished"

    def __init__(
        self,
        family: Family,
        teacher: Teacher,
        estimator: Estimator,
        plan: TeachingPlan,
        signature: Signature,
        folder: Path,
    ):
        super().__init__(teacher, estimator, plan, signature, folder, family.measure_name, family.value_name)
        require_at_least(1, children=family.children)
        self.family = family
        self.lessons = [family.lesson(place) for place in range(family.children)]
        wanted = windows_of(self.lessons[0].updates, family.window)
        if plan.steps != wanted:
            raise InputError(f"the plan has {plan.steps} steps, but the run has {wanted} windows", setting="window")
        self.children = [Child.at_start(lesson, teacher) for lesson in self.lessons]

    # A window of all students -----------------------------------------------------------

    def _lesson(self, step: int) -> dict[str, Any]:
        found = [self._window(place, step) for place in range(len(self.children))]
        taught = [each for each in found if each is not None]
        if not taught:
            return {}
        usable = [each for each in taught if each.collapse is None]
        self.collapses.see(None if usable else taught[0].collapse, _mean(usable, "measure_after", 0.0))
        figures: dict[str, Any] = {}
        for name in usable_figures(taught[0].figures):
            figures[name] = _mean(usable or taught, name, 0.0)
        if not usable:
            return {**figures, "collapsed": True}
        return {**figures, **self._learn([each.loss for each in usable])}

    def _window(self, place: int, step: int) -> Estimate | None:
        """Train a student for a window; return what the teacher learns from it, None where that is nothing."""
        lesson, child = self.lessons[place], self.children[place]
        first = (step - 1) * self.family.window
        updates = min(self.family.window, lesson.updates - first)
        lesson.student.load_buffers(child.buffers)
        window = Window(lesson, first, updates, child.state, tuple(child.memory), child.reached)
        guidance = window.guidance(self.teacher, len(self.family.features))
        label = f"window {step}/{self.plan.steps}" + (f", student {place + 1}" if len(self.children) > 1 else "")
        with self.family.watch(label, window) as watch:
            if updates < self.family.window:
                self._go_on(place, _trained(window, guidance, watch), guidance)
                return None
            estimated = self.estimator(window, guidance, guidance.along, self.collapses.floor, watch)
        self._go_on(place, estimated.student, guidance, estimated)
        if estimated.collapse is not None:
            which = f" of student {place + 1}" if len(self.children) > 1 else ""
            logger.warning(f"window {step}{which} collapsed, the teacher does not learn from it: {estimated.collapse}")
        return estimated

    def _go_on(self, place: int, end: Unroll, guidance: Guidance, estimated: Estimate | None = None) -> None:
        memory, reached = guidance.memory(), None
        if estimated is not None:
            memory = memory if estimated.memory is None else estimated.memory
            reached = estimated.figures.get("reached") if estimated.collapse is None else None
        phi = guidance.coefficients(guidance.course.updates - 1)
        self.children[place] = self.children[place].after(end, memory, phi, reached)

    # Validation, files -------------------------------------------------------------------

    @property
    def _no_better(self) -> str:
        return "no student was better on dev than before its first update"

    def _validation(self, step: int) -> Validation:
        pairs = list(zip(self.lessons, self.children, strict=True))
        values = [self.family.value(lesson, child.params, child.buffers) for lesson, child in pairs]
        place = values.index(max(values))
        lesson, child = pairs[place]
        self.family.keep(self.folder, LAST_STUDENT, lesson, child)
        return Validation(values[place], lambda folder: self.family.keep(folder, BEST_STUDENT, lesson, child))

    def _header(self, signature: str) -> TeacherHeader:
        return self.family.header(signature)

    def _state(self, **more: Any) -> SavedTeaching:
        return super()._state(children=self.children, **more)

    def _take(self, saved: Any) -> None:
        super()._take(saved)
        found, wanted = saved.children, self.children
        windows = max(saved.done, 0)
        fits = len(found) == len(wanted) and all(
            one.layout == other.layout and one.path.shape == (windows, self.teacher.coefficients)
            for one, other in zip(found, wanted, strict=True)
        )
        if not fits:
            raise InputError(
                f"{self.folder / STATE_NAME} is damaged (its students do not fit this run): delete {self.folder} to "
                "start that run again"
            )
        self.children = [one.to(other) for one, other in zip(found, wanted, strict=True)]


def windows_of(updates: int, window: int) -> int:
    """Return how many windows a run has, the last of which may be shorter.

    Raises:
        InputError: the window is not one, or longer than the run.
    """
    if not 1 <= window <= updates:
        raise InputError(
            f"a window has {window:,} updates, but must have between 1 and those of the run, {updates:,}: give fewer, "
            "or train longer",
            setting="window",
        )
    return -(-updates // window)


def _trained(window: Window, guidance: Guidance, watch: Watch) -> Unroll:
    run = window.student, window.rule, guidance.source, window.start, window.updates
    return unroll(*run, watch=watch, observe=guidance.observe)


def _mean(estimates: list[Estimate], name: str, default: float) -> float:
    return sum(each.figures[name] for each in estimates) / len(estimates) if estimates else default
