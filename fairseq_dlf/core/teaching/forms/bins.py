"""Two coefficients for each bin of types that are about as frequent."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.core.teaching.forms.form import FORMS, Form, require_form
from fairseq_dlf.core.teaching.forms.smoothing import pairs, require_smoothing, smoothed_reward, smoothing_weights
from fairseq_dlf.core.teaching.forms.types import TypeFacts
from fairseq_dlf.core.teaching.log_probs import LogProbs

# Of what is special: in translation continuation pieces, punctuation and the end of sentence.
KINDS = 3


@FORMS.register("bins")
@dataclass(frozen=True)
class Bins(Form):
    """reward = a_k log p(y) + b_k · mean_j log p(j) for the bin k of y; Φ is all a, then all b.

    Each bin holds the same share of the training tokens, from the most frequent types to the rarest; what is special
    has bins of its own with `kinds`. So the coefficients fit any dictionary, and one bin is plain label smoothing
    with a weight.

    Attributes:
        number: of bins by frequency.
        kinds: 1 gives each special kind of types a bin of its own, after the others.
        start: as in `Smoothed`.

    Cost: as `Smoothed`; 2 · bins coefficients.
    Source: ours.
    """

    number: int = 8
    kinds: int = 0
    start: float = 0.0
    reads_sum = True
    portable = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_smoothing(self.start)
        require_form("number", self.number >= 1, f"is {self.number}, but must be at least 1")
        require_form("kinds", self.kinds in (0, 1), f"is {self.kinds}, but must be 0 or 1")

    @property
    def bins(self) -> int:
        """Return the number of all bins."""
        return self.number + (KINDS if self.kinds else 0)

    def fitted(self, facts: TypeFacts) -> "Form":
        return FittedBins(**self.options, of_type=bins_of(self, facts))

    def size(self, types: int) -> int:
        return 2 * self.bins

    def neutral(self, types: int) -> Tensor:
        return pairs(*smoothing_weights(self.start, types), self.bins)

    def uniform_share(self, share: float, types: int) -> Tensor:
        return pairs(1.0 - share, share, self.bins)

    def reward(self, coefficients: Tensor, log_probs: LogProbs) -> Tensor:
        raise StateError("the form bins does not know the target types: fit it to them first")


@dataclass(frozen=True, eq=False)
class FittedBins(Bins):
    """Bins for known types.

    Attributes:
        of_type: the bin of each type, (types,), int64.
    """

    of_type: Tensor | None = None

    def reward(self, coefficients: Tensor, log_probs: LogProbs) -> Tensor:
        assert self.of_type is not None
        place = self.of_type.to(log_probs.target.device)[log_probs.target]
        target, rest = coefficients.chunk(2)
        return smoothed_reward(target[place], rest[place], log_probs)


def bins_of(form: Bins, facts: TypeFacts) -> Tensor:
    """Return the bin of each type, (types,), int64: 0 for the most frequent."""
    ordinary = facts.kinds == 0 if form.kinds else torch.ones_like(facts.kinds, dtype=torch.bool)
    counts = facts.counts.double().masked_fill(~ordinary, 0.0)
    order = torch.argsort(counts, descending=True, stable=True)
    # A type is in the bin where the middle of its share lies.
    reached = counts[order].cumsum(0) - counts[order] / 2
    share = reached / counts.sum().clamp(min=1e-12)
    bins = torch.empty_like(facts.kinds)
    bins[order] = (share * form.number).long().clamp(max=form.number - 1)
    return torch.where(ordinary, bins, form.number + facts.kinds - 1)
