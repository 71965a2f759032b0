"""The interface of a regulariser, and the regularisers by name."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Optional

from torch import Tensor

from fairseq_dlf.core.support.errors import InputError
from fairseq_dlf.core.support.registry import Registry
from fairseq_dlf.core.support.signature import described


class Predictions(NamedTuple):
    """What a regulariser sees of a student on a batch.

    Attributes:
        logits: of each pass, (passes · rows, tokens, types); the passes of one sentence are neighbouring rows, 0 and 1
            of the first. There are two if any regulariser of the loss reads two.
        target: (rows, tokens), int64.
        past_probs: p_past, the predictions of a past self without dropout, (rows, tokens, types), constant; None if
            no regulariser of the loss reads them.
    """

    logits: Tensor
    target: Tensor
    past_probs: Optional[Tensor] = None

    @property
    def passes(self) -> int:
        """Return how often each sentence was passed through the student."""
        return self.logits.size(0) // self.target.size(0)

    def for_each_pass(self, rows: Tensor) -> Tensor:
        """Repeat what belongs to sentences, (rows, …), for their passes: (passes · rows, …)."""
        return rows if self.passes == 1 else rows.repeat_interleave(self.passes, dim=0)

    def mean_of_passes(self, values: Tensor) -> Tensor:
        """Return the means over passes of values, (passes · rows, tokens): (rows, tokens)."""
        return values if self.passes == 1 else values.view(-1, self.passes, values.size(1)).mean(dim=1)


@dataclass(frozen=True)
class Regulariser(ABC):
    """A penalty R beside the dynamic loss, whose weight is one number of the teacher's vector.

    A regulariser is a frozen dataclass in a separate file, registered by `REGULARISERS.register(name)`; its fields,
    each with a default, are its options.

    Attributes:
        start: its weight before teaching, 0 or more. An option of every regulariser.
        name: in `REGULARISERS`, which sets it.
        reads_two_passes: whether it compares two passes with different dropout masks.
        reads_past: whether it needs the predictions of a past self.

    Raises:
        InputError: an option is out of range.
    """

    start: float = 0.0

    name: ClassVar[str]
    reads_two_passes: ClassVar[bool] = False
    reads_past: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.start >= 0.0:
            raise InputError(
                f"the regulariser {self.name} has the option start={self.start:g}, but a weight must not be negative",
                setting="regulariser",
            )

    @property
    def spec(self) -> str:
        """Return the text from which `REGULARISERS.make` makes it again, such as 'r_drop(start=0.3)'."""
        return described(self, self.name)

    @abstractmethod
    def of_tokens(self, predictions: Predictions) -> Tensor:
        """Return R of each token, (rows, tokens), float32 or better, with second derivatives in the logits.

        Padding must have a finite R, but does not count.
        """

    def require_effect(self, per_token: float) -> None:
        """Raise StateError if the R of the first batch, per token, shows that it has nothing to work with."""
        return


Regularisers = tuple[Regulariser, ...]
REGULARISERS: Registry[Regulariser] = Registry("regulariser", name_attribute="name")
