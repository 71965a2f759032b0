"""The interface of a form of Φ, and the forms by name."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.registry import Registry
from fairseq_dlf.core.teaching.forms.types import TypeFacts
from fairseq_dlf.core.teaching.log_probs import LogProbs


@dataclass(frozen=True)
class Form(ABC):
    """The action of a flat coefficient vector Φ on log-probabilities.

    A form is a frozen dataclass in a separate file, registered by `FORMS.register(name)`; its fields, each with a
    default, are its options.

    Attributes:
        linear: 0 for the paper's loss of a token, −σ(reward); 1 for −reward, whose slope does not vanish where a
            token has a small probability. An option of every form.
        name: in `FORMS`, which sets it.
        reads_sum, reads_every: which fields of `LogProbs` the form needs besides log p(y).
        portable: whether the coefficients have a meaning for other target types, too.
        tallied: whether `tallies` says how a student does where each coefficient acts.
        starts_neutral: whether reward = log p(y) at `neutral`, with default options; False where teaching starts at
            random, so that multiples of the start mean nothing.

    Raises:
        InputError: an option is out of range.
    """

    linear: int = 0

    name: ClassVar[str]
    reads_sum: ClassVar[bool] = False
    reads_every: ClassVar[bool] = False
    portable: ClassVar[bool] = False
    tallied: ClassVar[bool] = False
    starts_neutral: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_form("linear", self.linear in (0, 1), f"is {self.linear}, but must be 0 or 1")

    @property
    def options(self) -> dict[str, Any]:
        """The options by name: the fields of the class that is registered, whatever a fitted form knows besides."""
        return {name: getattr(self, name) for name in FORMS.options(self.name)}

    @property
    def spec(self) -> str:
        """Return the text from which `FORMS.make` makes the form again, such as 'bins(number=4)'."""
        defaults = FORMS.options(self.name)
        changed = [f"{name}={_shown(value)}" for name, value in self.options.items() if value != defaults[name]]
        return f"{self.name}({','.join(changed)})" if changed else self.name

    def fitted(self, facts: TypeFacts) -> "Form":
        """Return the form for these target types or classes; itself, unless it needs to know them."""
        return self

    @abstractmethod
    def size(self, types: int) -> int:
        """Return the number of coefficients for so many types."""

    @abstractmethod
    def neutral(self, types: int) -> Tensor:
        """Return the coefficients from which teaching starts, by default those with which reward = log p(y).

        Returns:
            (size,), float32.
        """

    def start_times(self, factor: float, types: int) -> Tensor:
        """Return a multiple of `neutral`, (size,), float32.

        Raises:
            InputError: the form starts at random, and the factor is not 1.
        """
        if factor != 1.0 and not self.starts_neutral:
            raise InputError(
                f"the form {self.spec} starts at random, so that {factor:g} times its start is no weaker or stronger "
                "loss of the same sort: leave the factor at 1",
                setting="phi_start",
            )
        return factor * self.neutral(types)

    def uniform_share(self, share: float, types: int, weight: float = 1.0) -> Tensor | None:
        """Return the coefficients with which reward = weight · [(1 − share) · log p(y) + share · mean_j log p(j)].

        Returns:
            (size,), float32; None, the default, where no coefficients do that.
        """
        return None

    def bounds(self, types: int) -> tuple[float, float]:
        """Return the least and the greatest value that a teacher may give a coefficient; infinite by default."""
        return -math.inf, math.inf

    @abstractmethod
    def reward(self, coefficients: Tensor, log_probs: LogProbs) -> Tensor:
        """Return the reward of each token, (n,), with second derivatives in coefficients and log-probabilities.

        Args:
            coefficients: Φ, (size,), in the dtype of the log-probabilities.
        """

    def tallies(self, log_probs: LogProbs) -> tuple[Tensor, Tensor]:
        """Return sums over tokens and the numbers of these tokens, (size,) each, which a policy reads as means.

        The mean of a coefficient is small where the student does well at what the coefficient acts on.

        Raises:
            NotImplementedError: the form is not `tallied`.
        """
        raise NotImplementedError(f"the form {self.name} has no statistics of its coefficients")

    def losses(self, coefficients: Tensor, log_probs: LogProbs) -> Tensor:
        """Return the loss of each token, (n,)."""
        reward = self.reward(coefficients, log_probs)
        return -reward if self.linear else -torch.sigmoid(reward)


def _shown(value: float) -> str:
    # A seed may have more digits than a float shows.
    return str(value) if isinstance(value, int) else f"{value:g}"


def require_form(option: str, right: bool, wanted: str) -> None:
    """Raise InputError for an option of a form, unless it is right."""
    if not right:
        raise InputError(f"the option {option} of the form {wanted}", setting="form")


FORMS: Registry[Form] = Registry("form", name_attribute="name")
