"""The interface of a form of Φ, and the forms by name."""

from typing import Protocol

from torch import Tensor

from fairseq_dlf.core.support.registry import Registry
from fairseq_dlf.core.teaching.log_probs import LogProbs


class Form(Protocol):
    """The action of a flat coefficient vector Φ on log-probabilities.

    A form is a frozen dataclass in a separate file, registered by `FORMS.register(name)`.
    The dynamic loss applies its sigmoid to the reward of a token: l = −σ(reward).

    Attributes:
        spec: the text from which `FORMS.make` makes the form again, such as 'diagonal'.
        reads_sum, reads_every: which fields of `LogProbs` the form needs besides log p(y).
    """

    @property
    def spec(self) -> str: ...

    @property
    def reads_sum(self) -> bool: ...

    @property
    def reads_every(self) -> bool: ...

    def size(self, types: int) -> int:
        """Return the number of coefficients for so many types (target types or classes)."""

    def neutral(self, types: int) -> Tensor:
        """Return the coefficients with which reward = log p(y), and from which teaching starts: (size,), float32."""

    def reward(self, coefficients: Tensor, log_probs: LogProbs) -> Tensor:
        """Return the reward of each token, (n,), with second derivatives in coefficients and log-probabilities.

        Args:
            coefficients: Φ, (size,), in the dtype of the log-probabilities.
        """


FORMS: Registry[Form] = Registry("form")
