"""The interface of a teacher μ_θ, and the teachers by kind."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from fairseq_dlf.core.support.registry import Registry

# What a teacher remembers from one step to the next; () if it remembers nothing.
Memory = tuple[Tensor, ...]


class Teacher(nn.Module, ABC):
    """From the student's progress to coefficients; its parameters are θ.

    A teacher is a subclass in a file of its own, registered by `TEACHERS.register(kind)`.

    Attributes:
        kind: its name in `TEACHERS`, which sets it, and in the headers of teacher files.
        reads_progress: whether s_t matters; where it does not, nobody measures it.
        statistics: what s_t holds of the student, beside the share of the run, by the name that front ends know:
            "progress" (the paper's), "confusion" (of classes, in mean negative log-likelihood) or "tallies" (of each
            coefficient, as the form gives them).
        acts_when_observed: whether Φ changes only where the student is observed: then `forward` is asked for one step
            an interval, not for one an update.
        portable: whether θ has a meaning for other classes of the same number.
    """

    kind: ClassVar[str]
    reads_progress: ClassVar[bool] = True
    statistics: ClassVar[str] = "progress"
    acts_when_observed: ClassVar[bool] = False
    portable: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def untaught(cls, neutral: Tensor, features: int, **options: Any) -> "Teacher":
        """Return a teacher that gives `neutral`, (coefficients,), for every s of so many features, and can learn.

        Its keyword arguments with defaults are the options of this kind.
        """

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Teacher":
        """Return a teacher with this state, by name, without drawing random numbers.

        Raises:
            InputError: a tensor is missing, of a wrong shape, or not finite.
        """

    @property
    @abstractmethod
    def coefficients(self) -> int:
        """The number of coefficients."""

    @property
    @abstractmethod
    def features(self) -> int | None:
        """The length of s; None if the teacher accepts any length."""

    def start(self) -> Memory:
        """Return the memory before the first step."""
        return ()

    @abstractmethod
    def forward(self, progress: Tensor, memory: Memory = ()) -> tuple[Tensor, Memory]:
        """Return the coefficients of successive steps, and the memory after them.

        Args:
            progress: s_t, (steps, features).
            memory: before the first of these steps.

        Returns:
            Φ_t, (steps, coefficients), and the memory after the last step.
        """

    def along(self, progress: Tensor) -> Tensor:
        """Return Φ_t of a whole run, (steps, coefficients), with a graph to θ."""
        coefficients: Tensor = self(progress, self.start())[0]
        return coefficients

    @abstractmethod
    def bound(self, low: Tensor, high: Tensor) -> None:
        """Move θ so that low ≤ Φ ≤ high for every s; both bounds are (coefficients,)."""


class Teachers(Registry[Teacher]):
    """The kinds of teachers by name; their options are those of `untaught`."""

    def maker(self, name: str) -> Callable[..., Teacher]:
        found: Callable[..., Teacher] = self[name].untaught
        return found


TEACHERS = Teachers("teacher", name_attribute="kind")


def untaught_teacher(kind: str, neutral: Tensor, features: int, options: Mapping[str, Any]) -> Teacher:
    """Return an untaught teacher of a kind.

    Raises:
        InputError: there is no such kind, or it has no such option.
    """
    TEACHERS.require_options(kind, options)
    return TEACHERS.maker(kind)(neutral, features, **options)
