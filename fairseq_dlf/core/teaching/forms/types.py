"""What a form may know of the target types or classes."""

from typing import NamedTuple

import torch
from torch import Tensor


class TypeFacts(NamedTuple):
    """Facts about target types or classes that other data has, too.

    Attributes:
        counts: how often each occurs in the training data, (types,), float.
        kinds: what each is, (types,), int64; 0 for those that are nothing special.
    """

    counts: Tensor
    kinds: Tensor

    @classmethod
    def alike(cls, types: int) -> "TypeFacts":
        """Return the facts of types of which nothing is known."""
        return cls(torch.ones(types), torch.zeros(types, dtype=torch.int64))
