"""Bins of types that are about as frequent, whose coefficients fit any dictionary."""

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fairseq_dlf.core.support.errors import StateError
from fairseq_dlf.core.teaching.forms.form import Form, require_form
from fairseq_dlf.core.teaching.forms.smoothing import require_smoothing
from fairseq_dlf.core.teaching.forms.types import TypeFacts

# Of what is special: in translation continuation pieces, punctuation and the end of sentence.
KINDS = 3


@dataclass(frozen=True)
class Binned(Form):
    """A form whose coefficients belong to bins of types, and which smooths.

    Each bin holds the same share of the training tokens, from the most frequent types to the rarest; what is special
    has bins of its own with `kinds`.

    Attributes:
        number: of bins by frequency.
        kinds: 1 gives each special kind of types a bin of its own, after the others.
        start: ε of the label smoothing from which teaching starts; 0 is cross-entropy.
    """

    number: int = 8
    kinds: int = 0
    start: float = 0.0
    # Set by `fitted`: the bin of each type, (types,), int64.
    _of_type: Tensor | None = field(default=None, init=False, repr=False, compare=False)
    reads_sum = True
    portable = True
    tallied = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_smoothing(self.start)
        require_form("number", self.number >= 1, f"is {self.number}, but must be at least 1")
        require_form("kinds", self.kinds in (0, 1), f"is {self.kinds}, but must be 0 or 1")

    @property
    def bins(self) -> int:
        """Return the number of all bins."""
        return self.number + (KINDS if self.kinds else 0)

    def fitted(self, facts: TypeFacts) -> "Binned":
        fitted = copy.copy(self)
        object.__setattr__(fitted, "_of_type", bins_of(self, facts))
        return fitted

    def bin_of(self, target: Tensor) -> Tensor:
        """Return the bin of each target, int64 of the same shape.

        Raises:
            StateError: the form has several bins, and is not fitted to target types.
        """
        if self.bins == 1:
            return torch.zeros_like(target)
        if self._of_type is None:
            raise StateError(f"the form {self.name} does not know the target types: fit it to them first (form.fitted)")
        return self._of_type.to(target.device)[target]

    def summed_by_bin(self, values: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return sums of values of tokens, (n,), in the bins of their targets, and numbers of tokens, (bins,) each."""
        place, nothing = self.bin_of(target), values.new_zeros(self.bins)
        return nothing.index_add(0, place, values), nothing.index_add(0, place, torch.ones_like(values))


def bins_of(form: Binned, facts: TypeFacts) -> Tensor:
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
