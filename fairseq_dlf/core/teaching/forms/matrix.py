"""A full matrix: reward = yᵀΦ log p."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fairseq_dlf.core.teaching.forms.form import FORMS, Form
from fairseq_dlf.core.teaching.log_probs import LogProbs


@FORMS.register("matrix")
@dataclass(frozen=True)
class Matrix(Form):
    """One coefficient for every pair of classes, row by row; row y is for examples of class y.

    Cost: three (n, classes) tensors; classes² coefficients.
    Paper: sections 3.2 and 5.1.
    """

    reads_every = True

    def size(self, types: int) -> int:
        return types**2

    def neutral(self, types: int) -> Tensor:
        return torch.eye(types).flatten()

    def uniform_share(self, share: float, types: int, weight: float = 1.0) -> Tensor:
        return weight * ((1.0 - share) * self.neutral(types) + share / types)

    def reward(self, coefficients: Tensor, log_probs: LogProbs) -> Tensor:
        assert log_probs.every is not None
        types = log_probs.every.size(-1)
        return (coefficients.view(types, types)[log_probs.target] * log_probs.every).sum(dim=-1)
