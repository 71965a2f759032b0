"""The interface of a form of Φ, and the forms by name."""

from typing import Protocol

from torch import Tensor

from fairseq_dlf.core.support.registry import Registry
from fairseq_dlf.core.teaching.log_probs import LogProbs


class Form(Protocol):
    """How a flat coefficient vector Φ acts on log-probabilities.

    A form is a frozen dataclass in a file of its own, registered by `FORMS.register(name)`.
    The reward of a token is what the dynamic loss puts through its sigmoid: l = −σ(reward).

    Attributes:
        spec: the text by which `FORMS.make` makes it again, such as 'diagonal'.
        reads_sum, reads_every: which fields of `LogProbs` it needs besides log p(y).
    """

    @property
    def spec(self) -> str: ...

    @property
    def reads_sum(self) -> bool: ...

    @property
    def reads_every(self) -> bool: ...

    def size(self, types: int) -> int:
        """How many coefficients there are for so many types (of target words, or classes)."""

    def neutral(self, types: int) -> Tensor:
        """The coefficients that teaching starts from, where reward = log p(y): (size,), float32."""

    def reward(self, coefficients: Tensor, log_probs: LogProbs) -> Tensor:
        """The reward of each token, (n,), with second derivatives in coefficients and log-probabilities.

        Args:
            coefficients: Φ, (size,), in the dtype of the log-probabilities.
        """


FORMS: Registry[Form] = Registry("form")
